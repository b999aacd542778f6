//! References to the parts of the JSON Schema that other modules or plugins define.
//!
//! The types here have no values. They take the place of settings in the schema of a table whose
//! reader leaves these settings to another module.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::table::MAX_NAME_BYTES;

/// Tables with names of the user.
pub(crate) struct Named<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let name = format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{}}}$", MAX_NAME_BYTES - 1);
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": name },
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

/// Defines types whose schema is a reference to a definition.
macro_rules! references {
    ($($(#[$about:meta])* $type:ident = $name:literal;)*) => {$(
        $(#[$about])*
        pub(crate) struct $type;

        impl $type {
            /// The name of the definition.
            pub(crate) const NAME: &'static str = $name;
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Self::NAME.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Schema::new_ref(format!("#/$defs/{}", Self::NAME))
            }
        }
    )*};
}

references! {
    /// The identities.
    Identity = "identity";
    /// The service.
    Serve = "serve";
    /// An archive of WAL.
    WalArchive = "wal";
    /// The schedules of a job.
    Schedule = "schedule";
    /// A program before or after a job.
    Hook = "hook";
    /// The drills of a job.
    Drill = "drill";
    /// A dump program.
    Dump = "dump";
    /// A verifier of plaintext.
    Verify = "verify";
    /// An encryption, or none.
    Encrypt = "encrypt";
    /// A decryption by a program.
    Decrypt = "decrypt";
    /// A destination.
    Destination = "destination";
    /// A server for drills.
    Scratch = "scratch";
    /// A channel of notices.
    Notify = "notify";
}
