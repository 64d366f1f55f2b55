"""The keys of a Redis store, and the scripts that change them. docs/stores.md explains both.

Each script is one step for all others. What makes a commit or a deletion true is its last write, of the run's own hash
(``run``), or its first; what an error leaves beside that is not looked at by anybody.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

FORMAT: Final = 1

FORMAT_KEY: Final = b"tau:format"
RUNS_KEY: Final = b"tau:runs"


def encoded(text: str) -> bytes:
    """A text as a part of a key: no two share one."""
    return text.encode("utf-8", "surrogatepass")


def run_key(run_id: str) -> bytes:
    return b"tau:run:" + encoded(run_id)


def log_key(run_id: str) -> bytes:
    return b"tau:log:" + encoded(run_id)


def blobs_key(run_id: str) -> bytes:
    return b"tau:blobs:" + encoded(run_id)


def graph_key(graph: str) -> bytes:
    return b"tau:graph:" + encoded(graph)


def status_key(status: str) -> bytes:
    return b"tau:status:" + encoded(status)


def due_key(graph: str) -> bytes:
    return b"tau:due:" + encoded(graph)


def leased_key(graph: str) -> bytes:
    return b"tau:leased:" + encoded(graph)


class Script:
    """``digest`` is what the server knows it by."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode()).hexdigest()


# Every script: the format comes first, and nothing is done to another one.
_BEGIN: Final = """
local format = redis.call('GET', KEYS[1])
if not format and ARGV[2] == 'begin' then
  redis.call('SET', KEYS[1], ARGV[1])
  format = ARGV[1]
end
if format ~= ARGV[1] then
  return {'format', format}
end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function ends(seconds)
  return string.format('%.0f', now + tonumber(seconds) * 1000000)
end
"""
# A run is listed by when it was updated, among all, among those of its graph, and among those of its status. What a
# worker may take is in a queue of its graph: ``due``, by when, or ``leased``, by when the lease ends.
_INDEX: Final = """
local function enqueue(id, queue, graph, at, old_queue, old_graph)
  if old_queue and old_queue ~= '' and (old_queue ~= queue or old_graph ~= graph) then
    redis.call('ZREM', 'tau:' .. old_queue .. ':' .. old_graph, id)
  end
  if queue ~= '' then
    redis.call('ZADD', 'tau:' .. queue .. ':' .. graph, at, id)
  end
end
local function index(id, graph, status, updated, old_graph, old_status)
  if old_graph and old_graph ~= graph then
    redis.call('ZREM', 'tau:graph:' .. old_graph, id)
  end
  if old_status and old_status ~= status then
    redis.call('ZREM', 'tau:status:' .. old_status, id)
  end
  if status == 'deleted' then
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', 'tau:graph:' .. graph, id)
  else
    redis.call('ZADD', KEYS[2], updated, id)
    redis.call('ZADD', 'tau:graph:' .. graph, updated, id)
    redis.call('ZADD', 'tau:status:' .. status, updated, id)
  end
end
"""
# For each batch: 1 where it was appended, else {position, floor, last} of the run, or {position, floor, last, length}
# of one whose log is too short, or the text of an error. What is longer than the run says is left of an append that
# was broken off.
APPEND: Final = Script(
    _BEGIN
    + _INDEX
    + """
local function append(key, at)
  local run, log, blobs = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  local id, expected, before, begins, position, last, summary, graph, status, updated, queue, not_before, nonce,
    seconds, records, data = unpack(ARGV, at, at + 15)
  local old = redis.call('HMGET', run, 'position', 'floor', 'last', 'graph', 'status', 'queue', 'counter')
  local where, floor, newest = tonumber(old[1] or 0), tonumber(old[2] or 0), old[3] or ''
  if where ~= tonumber(expected) or (where > 0 and where == floor and begins == '')
      or (before ~= '' and where > floor and before ~= newest) then
    return {where, floor, newest}
  end
  local length = redis.call('LLEN', log)
  if length < where - floor then
    return {where, floor, newest, length}
  elseif length > where - floor then
    if where == floor then
      redis.call('DEL', log)
    else
      redis.call('LTRIM', log, 0, where - floor - 1)
    end
  end
  local first = at + 16
  for from = first, first + records - 1, 1000 do
    redis.call('RPUSH', log, unpack(ARGV, from, math.min(from + 1000, first + records) - 1))
  end
  first = first + records
  for from = first, first + 2 * data - 1, 2 do
    redis.call('HSETNX', blobs, ARGV[from], ARGV[from + 1])
  end
  index(id, graph, status, updated, old[4], old[5])
  local expires = ends(seconds)
  enqueue(id, queue, graph, queue == 'leased' and expires or not_before, old[6], old[4])
  if nonce == '' then
    redis.call('HDEL', run, 'nonce')
  else
    redis.call('HSET', run, 'nonce', nonce)
  end
  redis.call('HSET', run, 'position', position, 'floor', floor, 'last', last, 'summary', summary, 'graph', graph,
    'status', status, 'queue', queue, 'not_before', not_before, 'seconds', seconds, 'expires', expires,
    'counter', (old[7] or 0) + 1)
  return 1
end
local results = {}
local at = 3
for key = 3, #KEYS, 3 do
  local done, found = pcall(append, key, at)
  if not done then
    found = type(found) == 'table' and found.err or tostring(found)
  end
  results[#results + 1] = found
  at = at + 16 + ARGV[at + 14] + 2 * ARGV[at + 15]
end
return results
"""
)
# 1, or 0 where the run has moved on.
DELETE: Final = Script(
    _BEGIN
    + _INDEX
    + """
local run, log, blobs = KEYS[3], KEYS[4], KEYS[5]
local id, position, after, summary, graph, status, updated = unpack(ARGV, 3, 9)
local old = redis.call('HMGET', run, 'position', 'graph', 'status', 'queue', 'counter')
if old[1] ~= position then
  return 0
end
redis.call('HDEL', run, 'nonce')
redis.call('HSET', run, 'position', after, 'floor', after, 'last', '', 'summary', summary, 'graph', graph,
  'status', status, 'queue', '', 'counter', (old[5] or 0) + 1)
redis.call('UNLINK', log, blobs)
enqueue(id, '', graph, '', old[4], old[2])
index(id, graph, status, updated, old[2], old[3])
return 1
"""
)
# The position of the run. If that is the one that is meant, the records below the one that shall be the first are gone,
# and the blobs that are named.
TRIM: Final = Script(
    _BEGIN
    + """
local run, log, blobs = KEYS[2], KEYS[3], KEYS[4]
local old = redis.call('HMGET', run, 'position', 'floor')
local position, floor = tonumber(old[1] or 0), tonumber(old[2] or 0)
local below = math.min(tonumber(ARGV[4]), position) - 1
if position ~= tonumber(ARGV[3]) or redis.call('LLEN', log) < position - floor then
  return position
end
if below > floor then
  redis.call('HSET', run, 'floor', below)
  redis.call('LTRIM', log, below - floor, -1)
end
for from = 5, #ARGV, 1000 do
  redis.call('HDEL', blobs, unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
return position
"""
)
# A deletion of a run of which it is not known where it is, as its hash is gone or of another type: nothing is left of
# it but a position that no writer knows. The graphs are those that there are, of which it may be in the lists.
DISCARD: Final = Script(
    _BEGIN
    + """
local run, log, blobs = KEYS[3], KEYS[4], KEYS[5]
local id, after, summary, updated = unpack(ARGV, 3, 6)
if redis.call('TYPE', run).ok == 'hash' and tonumber(redis.call('HGET', run, 'position')) then
  return 0
end
redis.call('UNLINK', run, log, blobs)
redis.call('HSET', run, 'position', after, 'floor', after, 'last', '', 'summary', summary, 'graph', '',
  'status', 'deleted', 'queue', '', 'counter', 1)
redis.call('ZREM', KEYS[2], id)
for key = 6, #KEYS do
  redis.call('ZREM', KEYS[key], id)
end
return 1
"""
)
# 1, or 0 where somebody else holds the lease, or nobody.
RENEW: Final = Script(
    _BEGIN
    + """
local old = redis.call('HMGET', KEYS[2], 'nonce', 'queue', 'graph')
if old[1] ~= ARGV[3] then
  return 0
end
local expires = ends(ARGV[4])
if old[2] == 'leased' then
  redis.call('ZADD', 'tau:leased:' .. old[3], expires, ARGV[5])
end
redis.call('HINCRBY', KEYS[2], 'counter', 1)
redis.call('HSET', KEYS[2], 'seconds', ARGV[4], 'expires', expires)
return 1
"""
)
RELEASE: Final = Script(
    _BEGIN
    + _INDEX
    + """
local old = redis.call('HMGET', KEYS[2], 'nonce', 'queue', 'graph', 'not_before')
if old[1] ~= ARGV[3] then
  return 0
end
redis.call('HDEL', KEYS[2], 'nonce')
if old[2] == 'leased' then
  enqueue(ARGV[5], 'due', old[3], old[4], old[2], old[3])
  redis.call('HSET', KEYS[2], 'queue', 'due')
end
return 1
"""
)
# The time, how many of the queue of those whose time has come were read, and of each run that may be due what tells it:
# of that queue at most so many, from one place in it on; at its beginning also those whose lease has run out, and, if
# asked for, those whose lease ends later than most can. Of a run whose key is of another type nothing is told.
DUE: Final = Script(
    _BEGIN
    + """
local found = {string.format('%.0f', now), 0}
local function add(ids)
  for _, id in ipairs(ids) do
    local row = redis.pcall('HMGET', 'tau:run:' .. id, 'summary', 'nonce', 'counter', 'seconds', 'expires')
    if row.err and not string.find(row.err, 'WRONGTYPE', 1, true) then
      error(row.err)
    end
    found[#found + 1] = row.err and {''} or row
  end
  return #ids
end
local soon = string.format('%.6f', now / 1000000)
found[2] = add(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', soon, 'LIMIT', ARGV[5], ARGV[3]))
if ARGV[5] == '0' then
  add(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now)))
  if ARGV[4] ~= '' then
    add(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ends(ARGV[4]), '+inf'))
  end
end
return found
"""
)
