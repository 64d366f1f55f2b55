"""The tables of a SQLite store, and all that is said to them. docs/stores.md explains the columns."""

LAG = 0.05
SCHEMA = """
create table runs(
    id integer primary key,
    run_id text not null unique,
    position integer not null,
    last integer,
    summary blob not null,
    graph text not null,
    status text not null,
    updated real not null,
    nonce text,
    counter integer not null,
    seconds real not null,
    expires real not null,
    boot text not null
);
create table log(
    id integer primary key,
    run integer not null,
    position integer not null,
    previous integer,
    record blob not null
);
create table blobs(
    id integer primary key,
    run integer not null,
    digest blob not null,
    data blob not null
);
create unique index blobs_by_digest on blobs(run, digest);
"""
# Files of before there were workers get these with their first commit; older versions keep them up, too. A commit of a
# run that goes on writes none of them: see MOVE_ON.
INDEXES = """
create index if not exists runs_by_time on runs(updated) where status <> 'deleted';
create index if not exists runs_free on runs(graph, expires) where status in ('admitted', 'interrupted', 'waiting');
create index if not exists runs_running on runs(graph) where status = 'running';
"""

WHAT_IT_IS = """
select (select application_id from pragma_application_id), (select user_version from pragma_user_version),
    (select count(*) from sqlite_schema)
"""
FIND = "select id, position, last from runs where run_id = ?"
# The runs that the index of run ids does not lead to. All at once takes as long as looking for two of them by a scan.
LOST = """
select cast(r.run_id as blob) from runs r not indexed
left join runs i indexed by sqlite_autoindex_runs_1 on i.run_id = r.run_id where i.id is not r.id
"""
ADD = """
insert into runs(run_id, position, summary, graph, status, updated, counter, seconds, expires, boot)
values(?, 0, x'', '', '', 0, 0, 0, 0, '')
"""
# The first row of a commit, and those that follow it.
APPEND = "insert into log(run, position, previous, record) values(?, ?, ?, ?)"
APPEND_AT = "insert into log(id, run, position, previous, record) values(?, ?, ?, ?, ?)"
# The same for the one record of a run that is where it is expected; it changes nothing where the run is elsewhere.
APPEND_NEXT = """
insert into log(run, position, previous, record)
select id, position + 1, last, ?3 from runs where run_id = ?1 and position = ?2 and typeof(position) = 'integer'
    and last is not null
"""
KEEP = "insert or ignore into blobs(run, digest, data) values(?, ?, ?)"
MOVE = """
update runs set position = ?, last = ?, summary = ?, graph = ?, status = ?, updated = ?,
    nonce = ?, counter = counter + 1, seconds = ?, expires = ?, boot = ? where run_id = ?
"""
# The same for a run that goes on. The column ``updated`` is left behind the summary, by less than `LAG` seconds.
MOVE_ON = f"""
update runs set position = ?1, last = ?2, summary = ?3,
    nonce = ?7, counter = counter + 1, seconds = ?8, expires = ?9, boot = ?10
where run_id = ?11 and graph = ?4 and status = 'running' and ?5 = 'running'
    and updated <= ?6 and updated > ?6 - {LAG}
"""
# Each log row names the one before it, so that one index less is written in every commit.
READ = """
with recursive chain(run, position, previous, record) as (
    select r.id, coalesce(l.position, 0), l.previous, l.record
        from runs r left join log l on l.id = r.last and l.run = r.id and l.position = r.position
        where r.run_id = ?1 and r.last is not null and r.position > ?2
    union all
    select l.run, l.position, l.previous, l.record from chain c join log l on l.id = c.previous
        where c.position - 1 > ?2 and l.run = c.run and l.position = c.position - 1
) select position, previous, record, run from chain
"""
# The same from one row on, and without the records: for a log that is too long to be read at once.
READ_FROM = """
with recursive chain(run, position, previous, record) as (
    select run, position, previous, record from log where id = ?1 and run = ?2 and position = ?3
    union all
    select l.run, l.position, l.previous, l.record from chain c join log l on l.id = c.previous
        where c.position - 1 > ?4 and l.run = c.run and l.position = c.position - 1
) select position, previous, record from chain
"""
WALK_FROM = """
with recursive chain(run, position, previous) as (
    select run, position, previous from log where id = ?1 and run = ?2 and position = ?3
    union all
    select l.run, l.position, l.previous from chain c join log l on l.id = c.previous
        where c.position - 1 > ?4 and l.run = c.run and l.position = c.position - 1
) select position, previous from chain
"""
DROP_LOG = """
with recursive chain(id, previous) as (
    select l.id, l.previous from runs r join log l on l.id = r.last where r.id = ?1
    union all
    select l.id, l.previous from chain c join log l on l.id = c.previous where l.run = ?1 and l.id < c.id
) delete from log where id in (select id from chain)
"""
# The row at a position, and the one before it.
ROW_AT = """
with recursive chain(id, previous, position) as (
    select l.id, l.previous, l.position from runs r join log l on l.id = r.last where r.id = ?1
    union all
    select l.id, l.previous, l.position from chain c join log l on l.id = c.previous
        where l.run = ?1 and l.id < c.id and c.position > ?2
) select id, previous from chain where position = ?2
"""
DROP_FROM = """
with recursive chain(id, previous) as (
    select id, previous from log where id = ?2 and run = ?1
    union all
    select l.id, l.previous from chain c join log l on l.id = c.previous where l.run = ?1 and l.id < c.id
) delete from log where id in (select id from chain)
"""
LAST = "select coalesce(max(position), 0) from log where run = ? and typeof(position) = 'integer'"
SELECT = """
select summary, cast(run_id as blob) from runs
where status <> 'deleted' and (?1 is null or graph = ?1) and (?2 is null or status = ?2)
order by updated desc, id desc
"""
# As many as are asked for, and those that may belong before the last of them.
NEWEST = f"""
with last(updated) as materialized (
    select min(updated) from (
        select updated from runs
        where status <> 'deleted' and (?1 is null or graph = ?1) and (?2 is null or status = ?2)
        order by updated desc limit ?3
    )
)
select summary, cast(run_id as blob) from runs
where status <> 'deleted' and (?1 is null or graph = ?1) and (?2 is null or status = ?2)
    and updated >= (select updated - {LAG} from last)
    and (status = 'running' or updated >= (select updated from last))
order by updated desc, id desc
"""
# Of runs that nobody owns ``expires`` is the time from which one may be taken, in Unix seconds.
FREE = """
select summary, run_id from runs
where graph = ?1 and status in ('admitted', 'interrupted', 'waiting') and expires <= ?2 order by expires, id
"""
RUNNING = """
select summary, run_id, nonce, counter, seconds, expires, boot, summary from runs
where graph = ?1 and status = 'running' and (nonce is null or expires <= ?2 or boot <> ?3 or expires > ?2 + seconds)
"""
LEASES = """
select run_id, nonce, counter, seconds, expires, boot, summary from runs
where nonce is not null and run_id in (select value from json_each(?))
"""
# The index alone answers it, which does not know what is deleted.
RUN_IDS = "select cast(run_id as blob) from runs where run_id >= ?1 and run_id < cast(?2 as text) and run_id <> ''"
LEASE = "select nonce, counter, seconds, expires, boot, summary from runs where run_id = ?"
RENEW = """
update runs set counter = counter + 1, seconds = ?, expires = ?, boot = ? where run_id = ? and nonce = ?
"""
RELEASE = "update runs set nonce = null where run_id = ? and nonce = ?"
BLOB = "select data from blobs where run = (select id from runs where run_id = ?) and digest = ?"
