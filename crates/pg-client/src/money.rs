//! The text of values of type `money`, which depends on the session's locale (`lc_monetary`). A
//! session with another locale cannot read the text, and a dump does not contain the locale.

use longshore_core::manifest::DatabaseFacts;
use longshore_core::{Error, Kind, Result, Stage};

use crate::client::Client;
use crate::server::literal;

/// The query for the locale, if a relation of the database has values of type money, or arrays or
/// domains of money.
const LOCALE: &str =
    "select coalesce(to_json(case when exists (select from pg_catalog.pg_attribute where attrelid >= 16384 and attnum > 0
    and atttypid in (select oid from pg_catalog.pg_type where 'money'::regtype in (oid, typelem, typbasetype)))
    then current_setting('lc_monetary') end), 'null')";

/// Returns the locale in which a dump writes money, if the client's database contains any.
pub async fn locale(client: &Client) -> Result<Option<String>> {
    client.query(LOCALE).await
}

/// Returns the same client, whose programs read and write money as the dump of a database did.
/// Fails if the server does not have the locale.
pub async fn as_dumped(client: &Client, facts: Option<&DatabaseFacts>) -> Result<Client> {
    let Some(locale) = facts.and_then(|facts| facts.monetary.as_deref()) else { return Ok(client.clone()) };
    // An unknown locale fails here. In the startup packet it would refuse the whole session.
    let known = format!("select set_config('lc_monetary', {}, true)", literal(locale));
    client.execute(&known).await.map_err(|error| {
        let message = format!("values of type money are written in the locale {locale}, which the server cannot read");
        Error::new(Stage::Restore, Kind::Refused, client.database().unwrap_or(client.name()), message)
            .hint("install the locale on the server's host, and restart PostgreSQL")
            .because(error)
    })?;
    Ok(client.with_money(locale))
}
