//! The search for credentials and the region.

use std::env;

use longshore_core::{Error, Kind, Result, Stage, credential};
use longshore_objects::read_secret;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use secrecy::ExposeSecret;

use crate::profile::{self, Profile};
use crate::settings::S3;

/// A client builder with credentials, or with a provider in the container or the instance; and the
/// region.
pub(crate) struct Resolved {
    pub(crate) builder: AmazonS3Builder,
    pub(crate) region: String,
}

/// Searches the same sources as Amazon's own tools, in the same order, unless the settings contain
/// credentials.
pub(crate) fn resolve(settings: &S3) -> Result<Resolved> {
    let (builder, profile) = match (&settings.access_key_id, &settings.secret_access_key_file) {
        (Some(id), Some(file)) => {
            let secret = read_secret(file)?;
            let builder = AmazonS3Builder::new().with_access_key_id(id);
            (builder.with_secret_access_key(secret.expose_secret()), None)
        }
        (None, None) => search(settings)?,
        _ => {
            return Err(usage_error("access_key_id", "access_key_id and secret_access_key_file require each other")
                .hint("set both, or remove both and use AWS_* variables or a profile"));
        }
    };
    let from_environment = || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| env::var(name).ok());
    let region = settings.region.clone().or_else(from_environment).or_else(|| profile?.region);
    Ok(Resolved { builder, region: region.unwrap_or_else(|| "us-east-1".to_owned()) })
}

fn search(settings: &S3) -> Result<(AmazonS3Builder, Option<Profile>)> {
    let named = settings.profile.is_some() || settings.credentials_file.is_some();
    let environment = AmazonS3Builder::from_env();
    let has = |key| environment.get_config_value(&key).is_some_and(|value| !value.is_empty());
    let in_environment = has(AmazonS3ConfigKey::AccessKeyId) || has(AmazonS3ConfigKey::WebIdentityTokenFile);
    if in_environment && !named {
        return Ok((environment, None));
    }
    let profile = profile::read(
        credential::optional(settings.credentials_file.as_ref())?.as_deref(),
        settings.profile.as_deref(),
    )?;
    match profile {
        Some(profile) if profile.secret_access_key.is_some() || named => {
            let builder = if named { AmazonS3Builder::new() } else { environment };
            Ok((profile.add_key(builder)?, Some(profile)))
        }
        // A profile without a key may still set the region.
        profile => Ok((environment, profile)),
    }
}

impl Profile {
    fn add_key(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
        let (Some(id), Some(secret)) = (&self.access_key_id, &self.secret_access_key) else {
            return Err(usage_error(&self.name, "the profile contains no key")
                .hint("set aws_access_key_id and aws_secret_access_key; for roles and SSO, use `aws configure export-credentials`"));
        };
        let builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose_secret());
        Ok(match &self.session_token {
            Some(token) => builder.with_token(token.expose_secret()),
            None => builder,
        })
    }
}

pub(crate) fn usage_error(subject: &str, message: &str) -> Error {
    Error::new(Stage::Config, Kind::Usage, subject, message)
}
