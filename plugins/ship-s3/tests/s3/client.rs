//! Destinations built from settings.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use longshore_core::Result;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_ship_s3::S3;
use serde_json::{Value, json};

/// Builds a destination in bucket `acme` of the store at `address`, with this key and additional
/// settings.
pub(crate) fn try_s3(address: SocketAddr, id: &str, secret: &str, more: Value) -> Result<Box<dyn Store>> {
    build(address, id, secret, more, &StoreContext::default())
}

fn build(address: SocketAddr, id: &str, secret: &str, more: Value, context: &StoreContext) -> Result<Box<dyn Store>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{secret}\n")).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let mut settings = json!({
        "bucket": "acme",
        "region": "garage",
        "endpoint": format!("http://{address}"),
        "allow_http": true,
        "access_key_id": id,
        "secret_access_key_file": file.path(),
        "retries": 2,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value::<S3>(settings).unwrap().build(context)
}

pub(crate) fn s3(address: SocketAddr, id: &str, secret: &str, more: Value) -> Box<dyn Store> {
    try_s3(address, id, secret, more).unwrap()
}

/// Builds a destination that is opened with a context.
pub(crate) fn s3_with(
    address: SocketAddr,
    id: &str,
    secret: &str,
    more: Value,
    context: &StoreContext,
) -> Box<dyn Store> {
    build(address, id, secret, more, context).unwrap()
}
