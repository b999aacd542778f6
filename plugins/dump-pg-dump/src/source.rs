//! Facts about a database besides its bytes: the versions of its extensions, whether its rows have
//! the same meaning on another server, and whether a restore runs its own code.

use longshore_core::source::SourceFacts;
use longshore_pg_client::client::Client;

/// The query searches expressions for the functions that they call. A user-defined function, a
/// function that is not immutable, a conversion through text, or a collation's order may differ on
/// another server.
const SOURCE: &str = r"with trees(tree) as (
        select conbin::text from pg_catalog.pg_constraint where contype = 'c' and oid >= 16384
        union all select adbin::text from pg_catalog.pg_attrdef d
            join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
            where d.oid >= 16384 and coalesce(to_jsonb(a) ->> 'attgenerated', '') <> ''
        union all select concat(indexprs::text, indpred::text) from pg_catalog.pg_index where indexrelid >= 16384
        union all select partexprs::text from pg_catalog.pg_partitioned_table
    ), functions(id) as (
        select distinct (regexp_matches(tree, ':(?:func|opfunc)id (\d+)', 'g'))[1]::oid from trees
    )
    select json_build_object(
        'runs_own_code',
            exists (select from pg_catalog.pg_class where relkind = 'm' and relispopulated)
            or exists (select from functions where id >= 16384 and not exists (select from pg_catalog.pg_depend d
                where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = id and d.deptype = 'e')),
        'extensions', (select coalesce(json_object_agg(extname, extversion), '{}') from pg_catalog.pg_extension),
        'self_contained',
            not exists (select from functions join pg_catalog.pg_proc p on p.oid = id
                where p.oid >= 16384 or provolatile <> 'i')
            and not exists (select from trees where tree ~
                '\{(SQLVALUEFUNCTION|NEXTVALUEEXPR|COERCEVIAIO|ARRAYCOERCEEXPR|COERCETODOMAIN|XMLEXPR)')
            and not exists (select from pg_catalog.pg_partitioned_table where partstrat = 'h'
                or partstrat = 'r' and partcollation::text ~ '\m(?!0\M|950\M|951\M)\d')
            and not exists (select from pg_catalog.pg_collation c
                where oid >= 16384 and to_jsonb(c) ->> 'collisdeterministic' = 'false')
            and not exists (select from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = attrelid
                where c.oid >= 16384 and relkind in ('r', 'p') and atttypid in ('money'::regtype, 'money[]'::regtype)))";

/// Queries the facts of a database. If the query fails, the dump continues without them, and a
/// drill is stricter.
pub(crate) async fn query(client: &Client) -> Option<SourceFacts> {
    client.query(SOURCE).await.ok()
}
