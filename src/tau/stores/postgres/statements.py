"""The tables of a PostgreSQL store, and all that is said to them. docs/stores.md explains the columns.

Each is one statement and a transaction of its own, so that a client that stops in the middle leaves no lock behind, and
a pooler may give every one to another session.
"""

from tau.stores.postgres.prepared import Statement

FORMAT = 2
SCHEMA = """
create table tau.format(format integer not null);
insert into tau.format values(2);
create table tau.runs(
    id bigint generated always as identity primary key,
    key bytea not null unique,
    run_id text not null,
    position bigint not null,
    floor bigint not null,
    last bytea not null,
    summary bytea not null,
    graph text not null,
    status text not null,
    queue bytea,
    not_before double precision,
    updated double precision not null,
    quarter bigint not null,
    nonce text,
    counter bigint not null,
    seconds double precision not null,
    expires timestamp with time zone not null
) with (fillfactor = 60);
create index runs_by_time on tau.runs(quarter) where status <> 'deleted';
create index runs_due on tau.runs(queue, not_before) where queue is not null;
create index runs_queueless on tau.runs(graph) where queue is null and status = 'running';
create table tau.log(
    run bigint not null,
    position bigint not null,
    record bytea not null,
    primary key (run, position)
);
create table tau.blobs(
    run bigint not null,
    digest bytea not null,
    data bytea not null,
    primary key (run, digest)
);
alter table tau.log alter column record set storage external;
alter table tau.blobs alter column data set storage external;
"""
# From format 1, which has no queues: the runs that are running are entered. What a process of an older version begins
# or goes on with afterwards, in a session that it has had since, may be in no queue, as nothing else is that runs: DUE
# finds it by an index that is empty otherwise. What it ends stays in its queue, which is why DUE asks for the status.
RENEW_SCHEMA = """
alter table tau.runs add column queue bytea, add column not_before double precision;
update tau.runs set queue = substring(sha256(convert_to(graph, 'UTF8')) from 1 for 16), not_before = 0
where status = 'running';
create index runs_due on tau.runs(queue, not_before) where queue is not null;
create index runs_queueless on tau.runs(graph) where queue is null and status = 'running';
update tau.format set format = 2
"""
# Format 2 had at first no index of what runs in no queue, and DUE reads all runs without it. Whoever owns the tables
# makes it where that is a matter of a moment, as commits wait meanwhile; docs/stores.md has the line for larger ones.
INDEX_IS_MISSING = """
select exists(select from pg_class r join pg_namespace n on n.oid = r.relnamespace
where n.nspname = 'tau' and r.relname = 'runs' and pg_has_role(r.relowner, 'usage')
    and pg_relation_size(r.oid) < 67108864
    and not exists(select from pg_class i where i.relnamespace = n.oid and i.relname = 'runs_queueless'))
"""
ADD_INDEX = """
set local lock_timeout = '1s';
create index if not exists runs_queueless on tau.runs(graph) where queue is null and status = 'running'
"""
# Two that begin at the same moment take turns until the transaction ends; the number is "tau" in ASCII.
TAKE_TURNS = "select pg_advisory_xact_lock(7627125)"
# By the catalogue itself: to_regclass and the like answer from a cache, in which what another session has just created
# may be missing.
HAS_SCHEMA = "select exists(select from pg_namespace where nspname = 'tau')"
HAS_TABLES = "select exists(select from pg_tables where schemaname = 'tau' and tablename = 'format')"
CREATE_SCHEMA = "create schema tau"
SYNCHRONOUS = "set local synchronous_commit = on"
READ_COMMITTED = """
set transaction isolation level read committed; set local idle_in_transaction_session_timeout = '10s'
"""
WHICH_FORMAT = "select format, pg_backend_pid() from tau.format"
PROMISES = "select current_setting('fsync'), current_setting('full_page_writes')"

# Another client of a pooler may have left a session with less than the server's default, and a role may have less.
_DURABLY = """set_config('synchronous_commit',
    case when %(strict)s::boolean and current_setting('synchronous_commit') = 'off' then 'on'
    else current_setting('synchronous_commit') end, true)"""

# What most commits are: records of a run that is where it is expected, and nothing else; mostly one record.
_NEXT = f"""
with moved as (
    update tau.runs set position = %(position)s, last = %(last)b, summary = %(summary)b, graph = %(graph)s,
        status = %(status)s, queue = %(queue)b, not_before = %(not_before)s,
        updated = %(updated)s, quarter = %(quarter)s, nonce = %(nonce)s, counter = counter + 1,
        seconds = %(seconds)s, expires = clock_timestamp() + make_interval(secs => %(seconds)s)
    where key = %(key)b and position = %(expected)s and floor < position
        and (%(before)b = ''::bytea or last = %(before)b)
    returning id
) insert into tau.log(run, position, record) select id, {{records}}
returning {_DURABLY}
"""
_COLUMNS = {
    "key": "bytea", "run_id": "text", "expected": "bigint", "before": "bytea", "begins": "boolean",
    "position": "bigint", "last": "bytea", "summary": "bytea", "graph": "text", "status": "text", "queue": "bytea",
    "not_before": "double precision", "updated": "double precision", "quarter": "bigint", "nonce": "text",
    "seconds": "double precision",
}  # fmt: skip
APPEND_NEXT = Statement(
    "append_next",
    _NEXT.format(records="%(position)s, %(record)b from moved"),
    {**_COLUMNS, "record": "bytea", "strict": "boolean"},
)
# The end of a run is its last checkpoint and the record that it is finished.
APPEND_TWO = Statement(
    "append_two",
    _NEXT.format(
        records="number, record from moved, "
        "(values (%(position)s - 1, %(record)b), (%(position)s, %(second)b)) r(number, record)"
    ),
    {**_COLUMNS, "record": "bytea", "second": "bytea", "strict": "boolean"},
)
APPEND_SEVERAL = Statement(
    "append_several",
    _NEXT.format(
        records="%(expected)s + number, record from moved, "
        "unnest(%(records)b::bytea[]) with ordinality r(record, number)"
    ),
    {**_COLUMNS, "records": "bytea[]", "strict": "boolean"},
)
# New runs first, then the rows of the others in the order of their keys: so two groups never wait for each other.
APPEND = Statement(
    "append",
    f"""
with given as materialized (
    select * from unnest(%(key)b::bytea[], %(run_id)b::text[], %(expected)b::bigint[], %(before)b::bytea[],
        %(begins)b::boolean[], %(position)b::bigint[], %(last)b::bytea[], %(summary)b::bytea[], %(graph)b::text[],
        %(status)b::text[], %(queue)b::bytea[], %(not_before)b::double precision[],
        %(updated)b::double precision[], %(quarter)b::bigint[], %(nonce)b::text[], %(seconds)b::double precision[])
    as g(key, run_id, expected, before, begins, position, last, summary, graph, status, queue, not_before, updated,
        quarter, nonce, seconds)
), added as (
    insert into tau.runs(key, run_id, position, floor, last, summary, graph, status, queue, not_before, updated,
        quarter, nonce, counter, seconds, expires)
    select key, run_id, position, 0, last, summary, graph, status, queue, not_before, updated,
        quarter, nonce, 1, seconds, clock_timestamp() + make_interval(secs => seconds)
    from given where expected = 0 order by key
    on conflict (key) do nothing
    returning id, key
), locked as materialized (
    select id, key from tau.runs where key = any(%(key)b::bytea[]) and (select count(*) from added) >= 0
    order by key for update
), moved as (
    update tau.runs set position = g.position, last = g.last, summary = g.summary, graph = g.graph,
        status = g.status, queue = g.queue, not_before = g.not_before, updated = g.updated, quarter = g.quarter,
        nonce = g.nonce, counter = runs.counter + 1,
        seconds = g.seconds, expires = clock_timestamp() + make_interval(secs => g.seconds)
    from locked, given g
    where runs.id = locked.id and g.key = locked.key and runs.position = g.expected
        and (runs.floor < runs.position or g.begins) and (g.before = ''::bytea or runs.last = g.before)
    returning runs.id, runs.key
), put as materialized (
    select id, key from added union all select id, key from moved
), kept as (
    insert into tau.blobs(run, digest, data)
    select put.id, b.digest, b.data
    from unnest(%(blob_key)b::bytea[], %(digest)b::bytea[], %(data)b::bytea[]) as b(key, digest, data)
    join put on put.key = b.key
    on conflict do nothing
), appended as (
    insert into tau.log(run, position, record)
    select put.id, r.position, r.record
    from unnest(%(record_key)b::bytea[], %(record_position)b::bigint[], %(record)b::bytea[]) as r(key, position, record)
    join put on put.key = r.key
)
select key, {_DURABLY} from put
""",
    {
        **{name: f"{kind}[]" for name, kind in _COLUMNS.items()},
        "record_key": "bytea[]", "record_position": "bigint[]", "record": "bytea[]",
        "blob_key": "bytea[]", "digest": "bytea[]", "data": "bytea[]", "strict": "boolean",
    },
)  # fmt: skip
WHERE = "select key, position, floor, last from tau.runs where key = any(%b::bytea[])"
FIND = "select id, position, floor, summary from tau.runs where key = %b"
# Changes nothing where the run has moved on.
DELETE = f"""
with moved as (
    update tau.runs set position = %(after)s, floor = %(after)s, last = '', summary = %(summary)b, graph = %(graph)s,
        status = %(status)s, queue = null, not_before = null, nonce = null, counter = counter + 1
    where id = %(id)s and position = %(position)s
    returning id
), log as (
    delete from tau.log where run in (select id from moved)
), blobs as (
    delete from tau.blobs where run in (select id from moved)
)
select id, {_DURABLY} from moved
"""
# Changes nothing where the run has moved on.
TRIM = f"""
with moved as (
    update tau.runs set floor = greatest(floor, %(floor)s) where key = %(key)b and position = %(expected)s
    returning id
), log as (
    delete from tau.log where run in (select id from moved) and position <= %(floor)s
), blobs as (
    delete from tau.blobs where run in (select id from moved) and digest = any(%(blobs)b::bytea[])
)
select id, {_DURABLY} from moved
"""
RENEW = """
update tau.runs set counter = counter + 1, seconds = %(seconds)s,
    expires = clock_timestamp() + make_interval(secs => %(seconds)s)
where key = %(key)b and nonce = %(nonce)s
"""
RELEASE = "update tau.runs set nonce = null where key = %(key)b and nonce = %(nonce)s"
READ = """
select r.position, r.floor, l.position, l.record
from tau.runs r left join tau.log l on l.run = r.id and l.position > greatest(r.floor, %(after)s)
where r.key = %(key)b order by l.position limit %(limit)s::bigint
"""
LOGS = Statement(
    "read_logs",
    """
select g.key, r.position, r.floor, l.position, l.record
from unnest(%(keys)b::bytea[], %(after)b::bigint[]) as g(key, after)
join tau.runs r on r.key = g.key
left join tau.log l on l.run = r.id and l.position > greatest(r.floor, g.after)
order by g.key, l.position
""",
    {"keys": "bytea[]", "after": "bigint[]"},
)
SUMMARY = "select summary, position from tau.runs where key = %b"
BLOBS = """
select digest, data from tau.blobs
where run = (select id from tau.runs where key = %b) and digest = any(%b::bytea[])
"""
# The index holds quarters of a second: a run that hurries on stays where it is in it. So most commits write no index
# but that of the log (heap-only tuples), and a listing sorts only the newest quarters.
SELECT = """
select summary, run_id from tau.runs
where status <> 'deleted' and (%(graph)s::text is null or graph = %(graph)s)
    and (%(status)s::text is null or status = %(status)s)
order by quarter desc, updated desc, id desc limit %(limit)s::bigint
"""
RUN_IDS = "select run_id from tau.runs where status <> 'deleted' and starts_with(run_id, %s::text)"
_IS_FREE = """(nonce is null or expires <= statement_timestamp()
        or expires > statement_timestamp() + make_interval(secs => seconds + %(slack)s))"""
_LEASE = "nonce, counter, seconds, extract(epoch from expires - statement_timestamp())::double precision"
# The index holds only what may be taken, by graph; one that runs on changes neither column. What runs in no queue comes
# with the first page, without a place in the order.
DUE = f"""
(select not_before, id, summary, {_LEASE} from tau.runs
where queue = %(queue)b and status in ('admitted', 'interrupted', 'waiting', 'running')
    and not_before <= extract(epoch from statement_timestamp())::double precision
    and (not_before, id) > (%(not_before)s::double precision, %(id)s::bigint)
    and {_IS_FREE}
order by not_before, id limit %(limit)s)
union all select null, id, summary, {_LEASE} from tau.runs
where queue is null and status = 'running' and graph = %(graph)s and %(id)s::bigint = 0 and {_IS_FREE}
"""
# A few of the first ones in the queue, which cost the server and the worker a quarter of what all of them do. What is
# held and yet free has a lease by another clock, which has to be watched: that comes with them in any case.
SOME_DUE = Statement(
    "some_due",
    f"""
with head as (
    select array_agg(id) filter (where not is_held) as ids, array_agg(id) filter (where is_held) as held from (
        select id, nonce is not null and expires > statement_timestamp() as is_held from tau.runs
        where queue = %(queue)b and status in ('admitted', 'interrupted', 'waiting', 'running')
            and not_before <= extract(epoch from statement_timestamp())::double precision and {_IS_FREE}
        order by not_before, id limit %(among)s::bigint
    ) free
), start as materialized (
    select ids, held, floor(random() * greatest(cardinality(ids) - %(limit)s::bigint + 1, 1))::bigint as place from head
)
select summary, {_LEASE} from tau.runs where id = any(
    (select ids[(place + 1)::integer : (place + %(limit)s::bigint)::integer] || held from start)::bigint[]
)
union all select summary, {_LEASE} from tau.runs
where queue is null and status = 'running' and graph = %(graph)s and {_IS_FREE}
""",
    {
        "queue": "bytea", "graph": "text", "slack": "double precision", "limit": "bigint", "among": "bigint",
    },
)  # fmt: skip
LEASES = """
select key, nonce, counter, seconds, extract(epoch from expires - clock_timestamp())::double precision
from tau.runs where key = any(%b::bytea[]) and nonce is not null
"""
