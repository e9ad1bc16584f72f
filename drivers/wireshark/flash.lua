-- What the Flash profile (RFC 7425) puts into fields that RFC 7016 leaves to profiles and applications. Other profiles
-- have other layouts: what does not follow these is left as bytes, and is no error.

local F, reader = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(F) ~= "table" then
    return
end

local flash = {}

-- One option or marker (RFC 7016 §2.1.3): its type, a reader over its value, and its range; no type for a marker.
local function option(r)
    local from = r.at
    local sub = r:sized()
    local kind = sub:left() > 0 and sub:vlu():tonumber() or nil
    return kind, sub, r.tvb(from, r.at - from)
end

-- Calls `show` for each of the options that fill `r`.
local function each(r, tree, show)
    while r:left() > 0 do
        local kind, value, range = option(r)
        if not show(tree, kind, value, range) then
            tree:add(F.option_value, range)
        end
    end
    return true
end

-- Shows options below the item of a field, if the field has that form.
local function options(show, r, tree)
    local check = reader.new(r.tvb, r.at, r:left())
    local whole = reader.try(function()
        while check:left() > 0 do
            option(check)
        end
        return true
    end)
    if whole and r:left() > 0 then
        -- An option whose value is not as it should be ends the list; it is in the bytes above.
        reader.try(each, reader.new(r.tvb, r.at, r:left()), tree, show)
    end
end

local function add(tree, field, r)
    local range, length = r:range()
    if length > 0 then
        tree:add(field, range)
    else
        tree:add(field, ""):set_generated()
    end
    return true
end

local function add_bytes(tree, field, r, all)
    local range, length = r:range()
    tree:add(field, length > 0 and range or all)
    return true
end

local function group(tree, r)
    local value, range = r:vlu()
    tree:add(F.group, range, value)
    return true
end

local function group_and_key(tree, r, all)
    group(tree, r)
    return add_bytes(tree, F.public_key, r, all)
end

local function offer(tree, r)
    local _, range = r:u8()
    tree:add(F.send_always, range)
    tree:add(F.send_on_request, range)
    tree:add(F.request, range)
    return true
end

-- §4.3.3.
local function certificate(tree, kind, r, all)
    if not kind then
        tree:add(F.marker, all)
        return true
    end
    return kind == 0x00 and add(tree, F.hostname, r)
        or kind == 0x0a and add_bytes(tree, F.accepts_ancillary, r, all)
        or kind == 0x0e and add_bytes(tree, F.randomness, r, all)
        or kind == 0x15 and group(tree, r)
        or kind == 0x1d and group_and_key(tree, r, all)
end

-- §4.4.2.
local function discriminator(tree, kind, r, all)
    return kind == 0x00 and add(tree, F.hostname, r)
        or kind == 0x0a and add(tree, F.ancillary, r)
        or kind == 0x0f and add_bytes(tree, F.fingerprint, r, all)
end

-- §4.5.2.
local function component(tree, kind, r, all)
    if kind == 0x1a then
        offer(tree, r)
        local length, range = r:vlu()
        tree:add(F.hmac_length, range, length)
        return true
    end
    return kind == 0x0d and group_and_key(tree, r, all)
        or kind == 0x0e and add_bytes(tree, F.randomness, r, all)
        or kind == 0x1d and group(tree, r)
        or kind == 0x1e and offer(tree, r)
end

-- §4.3.5.1.
local function signature(tree, kind, r)
    if kind ~= 0x1d then
        return false
    end
    tree:add(F.password_hmac, (r:bytes(32)))
    return add(tree, F.password_id, r)
end

function flash.certificate(r, tree) options(certificate, r, tree) end
function flash.discriminator(r, tree) options(discriminator, r, tree) end
function flash.component(r, tree) options(component, r, tree) end
function flash.signature(r, tree) options(signature, r, tree) end

-- Whether metadata is that of a flow of RTMP messages (§5.1.1).
function flash.is_rtmp(metadata)
    return metadata:sub(1, 2) == "TC"
end

function flash.metadata(r, tree)
    if not flash.is_rtmp(r:raw()) then
        return
    end
    reader.try(function()
        r:u16()
        local flags, range = r:u8()
        tree:add(F.receive_intent, range)
        if flags % 8 >= 4 then
            local stream, at = r:vlu()
            tree:add(F.stream, at, stream)
        end
    end)
end

-- The beginning of an RTMP message (§5.1.2), in the first fragment.
function flash.rtmp(r, tree)
    reader.try(function()
        local kind, range = r:u8()
        tree:add(F.rtmp_type, range)
        tree:add(F.rtmp_timestamp, (r:bytes(4)))
        if kind == 4 then
            local event, at = r:u16()
            tree:add(F.rtmp_event, at)
            if event == 34 then
                tree:add(F.sync_id, (r:bytes(4)))
                tree:add(F.sync_count, (r:bytes(4)))
            end
        end
    end)
end

return flash
