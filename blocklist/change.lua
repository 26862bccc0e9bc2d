-- change.lua - the only writer of the list in Redis: up to 1,000 changes of one feed in one step.
-- PROTOCOL.md says what each key and argument is. Redis 7.0 or later; EVALSHA, or EVAL on NOSCRIPT.
--
-- KEYS  prefix:meta  prefix:feeds  prefix:log  prefix:feed:<f>  prefix:f:<f>
-- ARGV  op  feed  who  why  lineage-of-a-new-list  item...
-- Gives {revision, applied, lineage, digest, log id of that revision}.
--
-- A script that fails half way is not rolled back, so it works in three steps: check the arguments
-- and the caller's rights; read, and work out what really changes; write. Only the third writes.

local SCHEMA = '1'
local CHANGES_MAX = 1000
local NAME_SIZE_MAX = 253 -- RFC 1035, 2.3.4, as text without the final dot
local LABEL_SIZE_MAX = 63
local VALUE_SIZE_MAX = 1024
local BODY_SIZE_MAX = 1048576
local FEED_NAME_SIZE_MAX = 63
local FEEDS_MAX = 4096
local WHO_SIZE_MAX = 128
local WHY_SIZE_MAX = 512
local TEXT_SIZE_MAX = 63 -- a feed's label and category
local PROPERTY_SIZE_MAX = 256
local PROPERTIES_MAX = 32
local SHARDS_MAX = 262144
local SHARDS_DEFAULT = 1024
local NAMES_PER_SHARD_MAX = 4096 -- on average; a node reads 32,768 at most
local LOG_KEPT_MS = 24 * 3600 * 1000
local KEYS_PER_UNLINK = 1000

local META, FEEDS, LOG, FEED, SHARD = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function refused(code, text)
    return redis.error_reply(code .. ' ' .. text)
end

local function printable(text, size_max)
    return #text <= size_max and not text:find('[%z\1-\31\127]')
end

local function name_fault(name)
    if name == '' or #name > NAME_SIZE_MAX then
        return 'a name has 1 to 253 octets'
    end
    if name:find('[^a-z0-9_.-]') then
        return 'a name has a-z, 0-9, dash, underscore and dots only'
    end
    if name:find('..', 1, true) or name:sub(1, 1) == '.' or name:sub(-1) == '.' then
        return 'a name has no empty label and no final dot'
    end
    for label in name:gmatch('[^.]+') do
        if #label > LABEL_SIZE_MAX then
            return 'a label has at most 63 octets'
        end
    end
    return nil
end

local function one_of(...)
    local allowed = {}
    for _, word in ipairs({ ... }) do
        allowed[word] = true
    end
    return function(value) return allowed[value] == true end
end

local function text_property(value)
    return printable(value, TEXT_SIZE_MAX)
end

-- Properties whose values are checked; others (a-z and _) are for people and later versions.
local PROPERTIES = {
    kind = one_of('deny', 'allow'),
    tier = one_of('legal', 'operator', 'feed'),
    action = one_of('default', 'address', 'nxdomain', 'nodata', 'refused', 'drop', 'log'),
    label = text_property,
    category = text_property,
    priority = function(value)
        local number = value:find('^-?%d+$') and #value <= 11 and tonumber(value)
        return number and number >= -2147483648 and number <= 2147483647
    end,
    shards = function(value)
        local number = value:find('^[1-9]%d*$') and #value <= 6 and tonumber(value)
        return number and number <= SHARDS_MAX and 2 ^ math.floor(math.log(number) / math.log(2) + 0.5) == number
    end,
}
local KEPT_BY_SCRIPT = { count = true, gen = true, updated = true, state = true }
local INITIAL = {
    kind = 'deny', tier = 'feed', action = 'default', priority = '100', label = '', category = '',
    shards = tostring(SHARDS_DEFAULT),
}

-- Hash to table.
local function hash_of(key)
    local flat = redis.call('HGETALL', key)
    local fields = {}
    for i = 1, #flat, 2 do
        fields[flat[i]] = flat[i + 1]
    end
    return fields
end

local function has_type(key, expected)
    local found = redis.call('TYPE', key)['ok']
    return found == 'none' or found == expected
end

-- What every op needs to be sure of before it reads on. Returns the error reply, or nil.
local function check(op, feed, who, why, lineage)
    if #KEYS ~= 5 or #ARGV < 5 then
        return refused('SHINVALID', 'five keys and at least five arguments are needed')
    end
    if #feed > FEED_NAME_SIZE_MAX or not feed:find('^[a-z0-9_][a-z0-9._-]*$') then
        return refused('SHINVALID', 'a feed name is [a-z0-9._-], at most 63, not led by a dot or dash')
    end
    if FEED:sub(-#feed - 6) ~= ':feed:' .. feed or SHARD:sub(-#feed - 3) ~= ':f:' .. feed then
        return refused('SHINVALID', 'the keys are not those of the feed')
    end
    if not printable(who, WHO_SIZE_MAX) or not printable(why, WHY_SIZE_MAX) then
        return refused('SHINVALID', 'who (128) and why (512 octets) are text without control characters')
    end
    if not lineage:find('^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$')
        or lineage:find('%u') then
        return refused('SHINVALID', 'the lineage is not a lower-case UUID')
    end
    local may = redis.acl_check_cmd
    if not (may('hset', META, 'f', 'v') and may('hset', FEED, 'f', 'v') and may('sadd', FEEDS, 'm')
            and may('hset', SHARD .. ':0', 'f', 'v') and may('hdel', SHARD .. ':0', 'f')
            and may('srem', FEEDS, 'm') and may('unlink', FEED) and may('unlink', SHARD .. ':0')
            and may('xadd', LOG, '*', 'f', 'v')) then
        return refused('SHRIGHTS', 'this Redis user may not write the list')
    end
    if not (has_type(META, 'hash') and has_type(FEEDS, 'set') and has_type(LOG, 'stream')
            and has_type(FEED, 'hash')) then
        return refused('SHTYPE', 'a key of the list holds something else')
    end
    return nil
end

-- The three ops' read steps. Each returns an error reply, or nil and a plan:
-- {applied=, body=, write=function}, or nil, nil when nothing would change.

local function plan_feed(properties, feed)
    local created = next(properties) == nil
    if created and redis.call('SCARD', FEEDS) >= FEEDS_MAX then
        return refused('SHFULL', 'there are 4096 feeds')
    end
    local new = {}
    local count = 0
    for key, value in pairs(created and INITIAL or properties) do
        new[key] = value
    end
    local changed = created
    for i = 6, #ARGV do
        local key, value = ARGV[i]:match('^([a-z][a-z_]*)=(.*)$')
        if not key or #key > 32 or KEPT_BY_SCRIPT[key] or not printable(value, PROPERTY_SIZE_MAX)
            or (PROPERTIES[key] and not PROPERTIES[key](value)) then
            return refused('SHINVALID', 'property ' .. (i - 5) .. ' is not KEY=VALUE of a known form')
        end
        if key == 'shards' and not created and value ~= properties.shards then
            return refused('SHINVALID', 'the shards of a feed are fixed at its creation')
        end
        changed = changed or new[key] ~= value
        new[key] = value
    end
    if not changed then
        return nil, nil
    end
    local lines, fields = {}, {}
    for key, value in pairs(new) do
        if not KEPT_BY_SCRIPT[key] then
            count = count + 1
            lines[count] = key .. '=' .. value
            fields[#fields + 1] = key
            fields[#fields + 1] = value
        end
    end
    if count > PROPERTIES_MAX then
        return refused('SHINVALID', 'a feed has at most 32 properties')
    end
    table.sort(lines)
    if created then
        for _, field in ipairs({ 'count', '0', 'gen', '0', 'state', 'open' }) do
            fields[#fields + 1] = field
        end
    end
    return nil, {
        applied = 1,
        body = table.concat(lines, '\n'),
        write = function()
            redis.call('HSET', FEED, unpack(fields))
            redis.call('SADD', FEEDS, feed)
        end,
    }
end

-- Reads one item of a change. Returns a fault, or nil, the name and the value (nil: removed).
local function change_of(item)
    local sign, name, rest = item:match('^([+-])([^ ]*)(.*)$')
    if not sign or (sign == '-' and rest ~= '') then
        return 'a change is +name value, +name or -name'
    end
    local value = sign == '+' and rest:sub(2) or nil
    if value and not printable(value, VALUE_SIZE_MAX) then
        return 'a value has at most 1024 octets and no control characters'
    end
    return name_fault(name), name, value
end

-- The net difference: for each name, what it was before the call against what it is after it.
local function plan_change(properties)
    if #ARGV - 5 > CHANGES_MAX then
        return refused('SHINVALID', 'at most 1000 changes a call')
    end
    local names, after, before, shard_of = {}, {}, {}, {}
    for i = 6, #ARGV do
        local fault, name, value = change_of(ARGV[i])
        if fault then
            return refused('SHINVALID', 'change ' .. (i - 5) .. ': ' .. fault)
        end
        if after[name] == nil then
            names[#names + 1] = name
        end
        after[name] = value or false
    end
    local shards = tonumber(properties.shards)
    local lines, sets, dels = {}, {}, {}
    local growth, size, applied = 0, 0, 0
    for _, name in ipairs(names) do
        local hash = tonumber(redis.sha1hex(name):sub(1, 7), 16)
        local key = string.format('%s:%x', SHARD, hash % shards)
        local old, new = redis.call('HGET', key, name), after[name]
        if old ~= new then
            local line = not new and '-' .. name or new == '' and '+' .. name or '+' .. name .. ' ' .. new
            lines[#lines + 1] = line
            size = size + #line + 1
            applied = applied + 1
            local target = new and sets or dels
            target[key] = target[key] or {}
            table.insert(target[key], name)
            if new then
                table.insert(target[key], new)
            end
            growth = growth + (new and 1 or 0) - (old and 1 or 0)
        end
    end
    if applied == 0 then
        return nil, nil
    end
    local count = tonumber(properties.count) + growth
    if growth > 0 and count > shards * NAMES_PER_SHARD_MAX then
        return refused('SHFULL', 'the feed has too few shards for so many names')
    end
    if size > BODY_SIZE_MAX then
        return refused('SHINVALID', 'the changes of one call have at most 1 MiB')
    end
    return nil, {
        applied = applied,
        body = table.concat(lines, '\n'),
        write = function()
            for key, fields in pairs(sets) do
                redis.call('HSET', key, unpack(fields))
            end
            for key, fields in pairs(dels) do
                redis.call('HDEL', key, unpack(fields))
            end
            redis.call('HSET', FEED, 'count', string.format('%.0f', count))
        end,
    }
end

local function plan_state(properties, state)
    if properties.state == state then
        return nil, nil
    end
    return nil, {
        applied = 1,
        body = '',
        write = function()
            redis.call('HSET', FEED, 'state', state)
            if state == 'importing' then
                redis.call('HINCRBY', FEED, 'gen', 1)
            end
        end,
    }
end

local function plan_remove(properties, feed)
    return nil, {
        applied = 1,
        body = '',
        removed = true,
        write = function()
            redis.call('SREM', FEEDS, feed)
            local shards = tonumber(properties.shards)
            for first = 0, shards - 1, KEYS_PER_UNLINK do
                local keys = {}
                for shard = first, math.min(first + KEYS_PER_UNLINK, shards) - 1 do
                    keys[#keys + 1] = string.format('%s:%x', SHARD, shard)
                end
                redis.call('UNLINK', unpack(keys))
            end
            redis.call('UNLINK', FEED)
        end,
    }
end

local function plan_of(op, feed)
    local properties = hash_of(FEED)
    local exists = next(properties) ~= nil
    if exists and not (PROPERTIES.shards(properties.shards or '') and tonumber(properties.count)) then
        return refused('SHTYPE', 'the feed was not made by this script')
    end
    if op == 'feed' then
        return plan_feed(properties, feed)
    elseif op == 'remove' then
        if not exists then
            return nil, nil
        end
        return plan_remove(properties, feed)
    elseif op ~= 'change' and op ~= 'begin' and op ~= 'end' then
        return refused('SHINVALID', 'op is change, begin, end, feed or remove')
    elseif not exists then
        return refused('SHNOFEED', 'there is no such feed; make it with op feed')
    elseif op == 'change' then
        return plan_change(properties)
    end
    return plan_state(properties, op == 'begin' and 'importing' or 'open')
end

local op, feed, who, why, lineage = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local err = check(op, feed, who, why, lineage)
if err then
    return err
end
local meta = hash_of(META)
if meta.lineage and (meta.schema ~= SCHEMA or not tonumber(meta.revision) or not meta.digest) then
    return refused('SHSCHEMA', 'the list has another schema than 1')
end
lineage = meta.lineage or lineage
local revision = meta.lineage and tonumber(meta.revision) or 0
local digest = meta.lineage and meta.digest or redis.sha1hex(lineage)
local plan
err, plan = plan_of(op, feed)
if err then
    return err
end
if not plan then
    return { revision, 0, lineage, digest, meta.lineage and meta.id or '' }
end

local now = redis.call('TIME')
local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
revision = revision + 1
local revision_text = string.format('%.0f', revision)
digest = redis.sha1hex(table.concat({ digest, revision_text, op, feed, plan.body }, '\n'))
plan.write()
if not plan.removed then
    redis.call('HSET', FEED, 'updated', now[1])
end
local id = redis.call('XADD', LOG, 'MINID', '~', string.format('%.0f-0', math.max(0, now_ms - LOG_KEPT_MS)), '*',
    'l', lineage, 'r', revision_text, 'd', digest, 'o', op, 'f', feed, 'w', who, 'y', why, 'b', plan.body)
redis.call('HSET', META, 'schema', SCHEMA, 'lineage', lineage, 'revision', revision_text, 'digest', digest,
    'id', id)
return { revision, plan.applied, lineage, digest, id }
