//! A filter for names in a listing that Longshore never writes and that `object_store` cannot
//! parse. One such name would fail the whole page.
//!
//! S3, GCS and Azure list objects as XML, with one element for each object. The filter removes
//! elements whose names have empty segments, begin or end with a slash, or contain control
//! characters, before the page is parsed.

use bytes::Bytes;
use http::Method;
use memchr::memmem;
use object_store::client::HttpRequest;
use object_store::path::Path;

/// The elements of an object and of its name: for S3 and GCS, and for Azure.
const ELEMENTS: [(&str, &str); 2] = [("Contents", "Key"), ("Blob", "Name")];

/// Returns true if a request lists objects.
pub(crate) fn is_listing(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    *request.method() == Method::GET && query.split('&').any(|pair| pair == "list-type=2" || pair == "comp=list")
}

/// Returns a page of a listing without the objects whose names cannot be parsed.
pub(crate) fn remove_unparsable(page: Bytes) -> Bytes {
    ELEMENTS.into_iter().fold(page, |page, (object, name)| remove_elements(page, object, name))
}

fn remove_elements(page: Bytes, object: &str, name: &str) -> Bytes {
    let (begin, end) = (format!("<{object}>"), format!("</{object}>"));
    let mut kept = Vec::new();
    let (mut rest, mut done) = (&page[..], 0);
    while let Some(at) = memmem::find(rest, begin.as_bytes())
        && let Some(length) = memmem::find(&rest[at..], end.as_bytes())
    {
        let after = at + length + end.len();
        if is_unparsable(&rest[at..after], name) {
            kept.extend_from_slice(&page[done..page.len() - rest.len() + at]);
            done = page.len() - rest.len() + after;
        }
        rest = &rest[after..];
    }
    if done == 0 {
        return page;
    }
    kept.extend_from_slice(&page[done..]);
    kept.into()
}

/// Returns true if parsing an object's name fails or changes the name.
fn is_unparsable(object: &[u8], name: &str) -> bool {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let Some(start) = memmem::find(object, begin.as_bytes()).map(|at| at + begin.len()) else { return false };
    let Some(length) = memmem::find(&object[start..], end.as_bytes()) else { return false };
    let Ok(text) = std::str::from_utf8(&object[start..start + length]) else { return true };
    let Ok(text) = quick_xml::escape::unescape(text) else { return true };
    !Path::parse(&*text).is_ok_and(|path| path.as_ref() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(object: &str, name: &str, names: &[&str]) -> String {
        let objects: String =
            names.iter().map(|key| format!("<{object}><{name}>{key}</{name}><Size>1</Size></{object}>")).collect();
        format!("<?xml version=\"1.0\"?><Result><Name>acme</Name>{objects}<IsTruncated>false</IsTruncated></Result>")
    }

    #[test]
    fn removes_unparsable_names() {
        for (object, name) in ELEMENTS {
            let ours = ["main/a.json", "main/a%2Fb/x.dump", "main/x&amp;y", "ä"];
            let whole = Bytes::from(page(object, name, &ours));
            assert_eq!(remove_unparsable(whole.clone()), whole);
            let mixed = [
                "a//b",
                "main/a.json",
                "/main/b",
                "main/a%2Fb/x.dump",
                "main/x&amp;y",
                "folder/",
                "../x",
                "ä",
                "x/&#10;",
            ];
            assert_eq!(remove_unparsable(page(object, name, &mixed).into()), whole, "{object}");
        }
    }

    #[test]
    fn keeps_malformed_pages() {
        for text in ["", "<Contents>", "<Contents><Key>a//b</Contents>", "<Error><Code>NoSuchBucket</Code></Error>"] {
            assert_eq!(remove_unparsable(Bytes::from(text)), text);
        }
    }
}
