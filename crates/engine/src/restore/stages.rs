//! The restore stages of several backups: the format of each backup selects its plugin.

use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::check::Finding;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::Target;
use longshore_core::stage::{Restore, RestoreRequest};

/// Builds the plugin that restores a backup.
pub(crate) fn restore_stage(registry: &Registry, target: &Target, manifest: &Manifest) -> Result<Box<dyn Restore>> {
    registry.restore.build(registry.restore.name_for(&manifest.artifact.format)?, target)
}

/// The restore stages of several backups. Backups with the same plugin share a stage.
pub(crate) struct RestoreStages {
    /// One stage for each plugin.
    stages: Vec<Box<dyn Restore>>,
    /// The index of the stage of each backup.
    indices: Vec<usize>,
}

impl RestoreStages {
    /// Builds the plugins that restore these backups.
    pub(crate) fn build<'a>(
        registry: &Registry,
        target: &Target,
        manifests: impl IntoIterator<Item = &'a Manifest>,
    ) -> Result<Self> {
        let mut names: Vec<&str> = Vec::new();
        let (mut stages, mut indices) = (Vec::new(), Vec::new());
        for manifest in manifests {
            let name = registry.restore.name_for(&manifest.artifact.format)?;
            let known = names.iter().position(|known| *known == name);
            indices.push(known.unwrap_or(names.len()));
            if known.is_none() {
                stages.push(restore_stage(registry, target, manifest)?);
                names.push(name);
            }
        }
        Ok(Self { stages, indices })
    }

    /// Returns the stage of each backup, in the order of the backups.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Restore> {
        self.indices.iter().map(move |index| &*self.stages[*index])
    }

    /// Checks the target for the backups, each with its own stage. `requests` are the backups for
    /// which the stages were built.
    pub(crate) async fn prepare(&self, requests: &[RestoreRequest<'_>]) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let of_stage = requests.iter().zip(&self.indices).filter(|(_, other)| **other == index);
            let of_stage: Vec<_> = of_stage.map(|(request, _)| *request).collect();
            findings.extend(stage.prepare(&of_stage).await?);
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use longshore_config::registry::Reader;
    use longshore_core::left_out::LeftOut;
    use longshore_core::manifest::Format;
    use longshore_core::plugin::DatabaseTarget;
    use longshore_core::stage::Restored;
    use longshore_core::stream::{ByteStream, from_bytes};
    use longshore_core::subject::Subject;
    use longshore_core::{Error, Kind, Stage};
    use serde_json::{Map, Value};

    use super::*;
    use crate::fixture;
    use crate::stages::site_without_server;

    /// A plugin whose findings name the checked backups.
    struct Restores(&'static str);

    #[async_trait]
    impl Restore for Restores {
        async fn prepare(&self, requests: &[RestoreRequest<'_>]) -> Result<Vec<Finding>> {
            let subjects = requests.iter().map(|request| request.manifest.subject.to_string());
            Ok(vec![Finding::good(self.0, subjects.collect::<Vec<_>>().join(", "))])
        }

        async fn restore(&self, request: RestoreRequest<'_>, _: ByteStream) -> Result<Restored> {
            Err(Error::new(Stage::Restore, Kind::Failed, request.manifest.subject.to_string(), "is never restored"))
        }

        async fn contents(&self, _: &Manifest, _: ByteStream) -> Result<Vec<String>> {
            Ok(vec![self.0.to_owned()])
        }

        fn comparable_details(&self, _: &Map<String, Value>, _: &[LeftOut]) -> Option<Map<String, Value>> {
            None
        }
    }

    fn registry() -> Registry {
        let plugin = |name| {
            Reader::<dyn Restore>::new(move |_: BTreeMap<String, String>, _: &Target| Ok(Box::new(Restores(name))))
        };
        let mut registry = Registry::default();
        registry.restore.insert("archives", [Format::Custom, Format::Tar], plugin("archives")).unwrap();
        registry.restore.insert("scripts", [Format::Plain], plugin("scripts")).unwrap();
        registry
    }

    fn target() -> Target {
        Target::Database(DatabaseTarget::new(site_without_server().cluster))
    }

    fn manifest(name: &str, format: Format) -> Manifest {
        let mut manifest = fixture::manifest();
        manifest.subject = Subject::database(name);
        manifest.artifact.format = format;
        manifest
    }

    #[tokio::test]
    async fn backups_are_prepared_by_plugins_of_their_formats() {
        let manifests = [("a", Format::Custom), ("b", Format::Plain), ("c", Format::Tar)];
        let manifests = manifests.map(|(name, format)| manifest(name, format));
        let stages = RestoreStages::build(&registry(), &target(), &manifests).unwrap();
        let requests = manifests.each_ref().map(|manifest| RestoreRequest::new(manifest, None));
        let findings = stages.prepare(&requests).await.unwrap();
        let found: Vec<_> = findings.iter().map(|it| (it.subject.as_str(), it.message.as_str())).collect();
        assert_eq!(found, [("archives", "a, c"), ("scripts", "b")]);
        for (stage, plugin) in stages.iter().zip(["archives", "scripts", "archives"]) {
            assert_eq!(stage.contents(&manifests[0], from_bytes("")).await.unwrap(), [plugin]);
        }
    }

    #[test]
    fn format_without_plugin_is_refused() {
        let manifests = [manifest("a", Format::Custom), manifest("b", Format::Base)];
        let error = RestoreStages::build(&registry(), &target(), &manifests).err().unwrap();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("\"base\""), "{error}");
        assert!(error.remedy().is_some(), "{error:?}");
    }
}
