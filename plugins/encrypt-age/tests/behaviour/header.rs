//! Headers apart from their files: new ones for other recipients, and decryption by them, by our
//! own code and by age.

use bytes::Bytes;
use longshore_core::stage::{Decrypt, Encrypt};
use longshore_core::stream::{collect, from_bytes};
use longshore_core::{Kind, Result, Stage};

use crate::support::{
    CHUNK, FixedAnswer, TestFolder, decrypter, decrypter_with_prompt, encrypter, encrypter_for, open, random_bytes,
    seal,
};

/// Returns the number of bytes of the header of a file, as a caller reads it piece by piece.
fn header_length(decrypter: &dyn Decrypt, file: &[u8]) -> Result<usize> {
    let mut end = 0;
    loop {
        match decrypter.headers().unwrap().missing_bytes(&file[..end], "file")? {
            0 => return Ok(end),
            missing => end += missing,
        }
    }
}

/// Returns a new header of a file for other recipients.
pub(crate) async fn rekey(decrypter: &dyn Decrypt, encrypter: &dyn Encrypt, file: &[u8]) -> Result<Bytes> {
    let own = file[..header_length(decrypter, file)?].to_vec();
    let key = decrypter.headers().unwrap().file_key(own.into(), Vec::new(), "file").await?;
    encrypter.headers().unwrap().header(&key, "file").await
}

/// Decrypts a file by the first of these headers that an identity opens.
async fn open_with(decrypter: &dyn Decrypt, headers: &[Bytes], file: &[u8]) -> Result<Vec<u8>> {
    let stream = from_bytes(file.to_vec());
    let opened = decrypter.headers().unwrap().decrypt_with(headers.to_vec(), stream, "file").await?;
    Ok(collect(opened, 1 << 30, Stage::Decrypt, "").await?.to_vec())
}

/// Returns an age file: a header in the place of a file's own.
pub(crate) fn spliced(decrypter: &dyn Decrypt, header: &[u8], file: &[u8]) -> Vec<u8> {
    [header, &file[header_length(decrypter, file).unwrap()..]].concat()
}

#[tokio::test]
async fn new_header_opens_files_of_both_programs() {
    let folder = TestFolder::new();
    let ((old, old_recipient), (new, new_recipient)) = (folder.identity("old"), folder.identity("new"));
    let (old_reader, new_reader) = (decrypter(&[&old]), decrypter(&[&new]));
    for length in [0, 1, CHUNK, 3 * CHUNK + 1] {
        let plaintext = random_bytes(length);
        let ours = seal(&*encrypter_for(&old_recipient), &plaintext).await;
        let theirs = folder.age_seals(&["-r", &old_recipient], &plaintext);
        for file in [ours, theirs] {
            let header = rekey(&*old_reader, &*encrypter_for(&new_recipient), &file).await.unwrap();
            assert!(header.ends_with(b"\n"));
            let by_hand = spliced(&*old_reader, &header, &file);
            assert!(folder.age_opens(&new, &by_hand).unwrap() == plaintext, "{length}");
            assert!(folder.age_opens(&old, &by_hand).unwrap_err().contains("no identity matched"));
            let headers = [header];
            assert!(open_with(&*new_reader, &headers, &file).await.unwrap() == plaintext);
            assert!(open_with(&*old_reader, &headers, &file).await.unwrap() == plaintext, "by its own header");
            assert_eq!(open(&*new_reader, &file).await.unwrap_err().kind(), Kind::Denied);
            // The next rekey begins with the new identity.
            let own = Bytes::copy_from_slice(&file[..header_length(&*new_reader, &file).unwrap()]);
            let key = new_reader.headers().unwrap().file_key(own, headers.to_vec(), "file").await.unwrap();
            let (third, third_recipient) = folder.identity("third");
            let header = encrypter_for(&third_recipient).headers().unwrap().header(&key, "file").await.unwrap();
            assert!(folder.age_opens(&third, &spliced(&*old_reader, &header, &file)).unwrap() == plaintext);
        }
    }
}

#[tokio::test]
async fn headers_are_for_any_kind_of_recipient() {
    let folder = TestFolder::new();
    let (old, old_recipient) = folder.identity("old");
    let reader = decrypter(&[&old]);
    let file = seal(&*encrypter_for(&old_recipient), b"cargo").await;
    let (x25519, x25519_recipient) = folder.identity("x25519");
    let (ed25519, ed25519_recipient) = folder.ssh_key("ed25519", &["-t", "ed25519", "-N", ""]);
    let (rsa, rsa_recipient) = folder.ssh_key("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]);
    let all = format!("recipients = ['{x25519_recipient}', '{ed25519_recipient}', '{rsa_recipient}']");
    let header = rekey(&*reader, &*encrypter(&all).unwrap(), &file).await.unwrap();
    for identity in [&x25519, &ed25519, &rsa] {
        let by_hand = spliced(&*reader, &header, &file);
        assert_eq!(folder.age_opens(identity, &by_hand).unwrap(), b"cargo", "{}", identity.display());
        let opened = open_with(&*decrypter(&[identity]), std::slice::from_ref(&header), &file).await.unwrap();
        assert_eq!(opened, b"cargo", "{}", identity.display());
    }
    // The identities of these recipients are in hardware; the crate only encrypts for them.
    let tag = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";
    let header = rekey(&*reader, &*encrypter_for(tag), &file).await.unwrap();
    assert!(header.starts_with(b"age-encryption.org/v1\n-> p256tag "));
    let tagpq = include_str!("tagpq-recipient.txt").trim();
    let header = rekey(&*reader, &*encrypter_for(tagpq), &file).await.unwrap();
    assert!(header.starts_with(b"age-encryption.org/v1\n-> mlkem768p256tag "));
    let mixed = format!("recipients = ['{tagpq}', '{x25519_recipient}']");
    assert!(encrypter(&mixed).err().unwrap().to_string().contains("only some of them are post-quantum"));
}

#[tokio::test]
async fn passphrase_has_a_header_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TestFolder::new();
    let file = folder.write("passphrase", "correct horse");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with_passphrase = encrypter(&format!("passphrase_file = '{}'", file.display())).unwrap();
    let (new, new_recipient) = folder.identity("new");
    let knows = decrypter_with_prompt(&[], &FixedAnswer::always("correct horse")).unwrap();

    let sealed = seal(&*with_passphrase, b"cargo").await;
    let header = rekey(&*knows, &*encrypter_for(&new_recipient), &sealed).await.unwrap();
    assert_eq!(folder.age_opens(&new, &spliced(&*knows, &header, &sealed)).unwrap(), b"cargo");
    // The newer header is tried first, so there is no prompt.
    let ask = FixedAnswer::always("wrong horse");
    let reader = decrypter_with_prompt(&[&new], &ask).unwrap();
    assert_eq!(open_with(&*reader, &[header], &sealed).await.unwrap(), b"cargo");
    assert_eq!(ask.asked(), 0);

    let sealed = seal(&*encrypter_for(&new_recipient), b"cargo").await;
    let header = rekey(&*decrypter(&[&new]), &*with_passphrase, &sealed).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&header).matches("\n-> ").count(), 1, "nothing beside a passphrase");
    assert_eq!(open_with(&*knows, &[header], &sealed).await.unwrap(), b"cargo");
}

/// Anyone who can write to a destination can store a header with a key of their own.
#[tokio::test]
async fn headers_of_other_files_are_ignored() {
    let folder = TestFolder::new();
    let ((old, old_recipient), (new, new_recipient)) = (folder.identity("old"), folder.identity("new"));
    let (old_reader, new_reader) = (decrypter(&[&old]), decrypter(&[&new]));
    let file = seal(&*encrypter_for(&old_recipient), b"cargo").await;
    let other = seal(&*encrypter_for(&new_recipient), b"freight").await;
    let forged = Bytes::copy_from_slice(&other[..header_length(&*new_reader, &other).unwrap()]);
    let good = rekey(&*old_reader, &*encrypter_for(&new_recipient), &file).await.unwrap();
    let mut damaged = good.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let damaged = Bytes::from(damaged);
    for headers in [
        vec![forged.clone(), good.clone()],
        vec![damaged.clone(), Bytes::new(), Bytes::from_static(b"no header\n"), good.clone()],
        vec![good.slice(..good.len() - 1), good.clone()],
    ] {
        assert_eq!(open_with(&*new_reader, &headers, &file).await.unwrap(), b"cargo");
    }
    for headers in [vec![forged], vec![damaged], vec![]] {
        assert_eq!(open_with(&*new_reader, &headers, &file).await.unwrap_err().kind(), Kind::Denied);
        assert_eq!(open_with(&*old_reader, &headers, &file).await.unwrap(), b"cargo");
    }
}

#[tokio::test]
async fn modified_headers_yield_no_other_key() {
    let folder = TestFolder::new();
    let (old, old_recipient) = folder.identity("old");
    let reader = decrypter(&[&old]);
    let file = seal(&*encrypter_for(&old_recipient), b"cargo").await;
    let own = &file[..header_length(&*reader, &file).unwrap()];
    let headers = reader.headers().unwrap();
    let key = headers.file_key(Bytes::copy_from_slice(own), Vec::new(), "file").await.unwrap();
    for place in 0..own.len() {
        for change in [0x01, 0x20, 0x80] {
            let mut modified = own.to_vec();
            modified[place] ^= change;
            let found = headers.file_key(modified.into(), Vec::new(), "file").await;
            assert!(found.is_err(), "at {place}: the MAC covers every byte");
        }
        let cut = Bytes::copy_from_slice(&own[..place]);
        assert!(headers.file_key(cut.clone(), Vec::new(), "file").await.is_err(), "cut at {place}");
        let found = headers.file_key(Bytes::copy_from_slice(own), vec![cut], "file").await.unwrap();
        assert_eq!(found.expose(), key.expose());
    }
}
