//! The JSON Schema of the configuration, made from the types that read the file.
//!
//! The comments of types and fields are the descriptions. Values that the schema accepts may still
//! be wrong: it knows neither the names of other tables nor settings that exclude each other.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};

use crate::reference::{
    Decrypt, Destination, Drill, Dump, Encrypt, Hook, Identity, Notify, Schedule, Scratch, Serve, Verify, WalArchive,
};
use crate::registry::Registry;
use crate::{drill, hook, identity, notify, serve, timetable, wal, written};

/// Returns the JSON Schema (draft 2020-12) of the configuration with these plugins.
pub fn schema(registry: &Registry) -> Schema {
    // Some editors ignore the description of a setting beside a reference to its type.
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.with_transform(RecursiveTransform(as_in_toml)).into_generator();
    let common = written::Destination::json_schema(&mut generator);
    let notice = notify::Written::json_schema(&mut generator);
    let channels: Vec<_> = notify::TYPES.iter().map(|known| (known.name, (known.schema)(&mut generator))).collect();
    let mut encrypt = registry.encrypt.schemas(&mut generator);
    encrypt.push(("none", json_schema!({ "description": "No encryption.", "additionalProperties": false })));
    let definitions = [
        (Identity::NAME, identity::Written::json_schema(&mut generator)),
        (Serve::NAME, serve::Written::json_schema(&mut generator)),
        (WalArchive::NAME, wal::Written::json_schema(&mut generator)),
        (Schedule::NAME, timetable::Setting::json_schema(&mut generator)),
        (Hook::NAME, hook::Written::json_schema(&mut generator)),
        (Drill::NAME, drill::Written::json_schema(&mut generator)),
        (Dump::NAME, one_of(registry.dump.schemas(&mut generator), None)),
        (Verify::NAME, one_of(registry.verify.schemas(&mut generator), None)),
        (Encrypt::NAME, one_of(encrypt, None)),
        (Decrypt::NAME, one_of(registry.decrypt_program.schemas(&mut generator), None)),
        (Destination::NAME, one_of(registry.store.schemas(&mut generator), Some(&common))),
        (Scratch::NAME, one_of(registry.scratch.schemas(&mut generator), None)),
        (Notify::NAME, one_of(channels, Some(&notice))),
    ];
    for (name, schema) in definitions {
        generator.definitions_mut().insert(name.to_owned(), schema.into());
    }
    generator.into_root_schema_for::<written::Top>()
}

/// Returns the schema of a table whose `type` selects its other settings: those of the type, and
/// those that all types have in common.
fn one_of(types: Vec<(&str, Schema)>, common: Option<&Schema>) -> Schema {
    let tables = types.into_iter().map(|(name, mut schema)| {
        let object = schema.ensure_object();
        object.insert("title".to_owned(), name.into());
        object.insert("type".to_owned(), "object".into());
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            let common = common.and_then(|common| common.get("properties")?.as_object());
            properties.extend(common.into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())));
            properties.insert("type".to_owned(), json!({ "type": "string", "const": name }));
        }
        if let Some(required) = object.entry("required").or_insert_with(|| json!([])).as_array_mut() {
            required.insert(0, "type".into());
        }
        Value::from(schema)
    });
    json_schema!({ "type": "object", "required": ["type"], "oneOf": tables.collect::<Vec<_>>() })
}

/// Removes from a schema what TOML and the reader of the file do not have: null, formats of
/// integers, and sets, whose members may be repeated. Joins the lines of descriptions.
fn as_in_toml(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("format");
    object.remove("uniqueItems");
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = description.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(types) = object.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [name] = types.as_slice() {
            let name = name.clone();
            object.insert("type".to_owned(), name);
        }
    }
    if let Some(values) = object.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    let Some(alternatives) = object.get_mut("anyOf").and_then(Value::as_array_mut) else { return };
    alternatives.retain(|alternative| alternative.get("type") != Some(&json!("null")));
    if let [Value::Object(only)] = alternatives.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        only.into_iter().for_each(|(keyword, value)| {
            object.entry(keyword).or_insert(value);
        });
    }
}
