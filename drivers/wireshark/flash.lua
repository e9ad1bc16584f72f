-- What the Flash profile (RFC 7425) puts into fields that RFC 7016 leaves to profiles and applications. Other profiles
-- have other layouts: what does not follow these is left as bytes, and is no error.

local F, reader, options = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(F) ~= "table" then
    return
end

local flash = {}

local add, add_bytes = options.add_text, options.add_bytes

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

function flash.certificate(r, tree) options.show(certificate, r, tree) end
function flash.discriminator(r, tree) options.show(discriminator, r, tree) end
function flash.component(r, tree) options.show(component, r, tree) end
function flash.signature(r, tree) options.show(signature, r, tree) end

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
