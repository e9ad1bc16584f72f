-- Which key opens a packet: the Default Session Key of a profile (RFC 7016 §2.2.3), or one of the key log, found by the
-- session ID that the packet names. Session IDs are learnt from Responder Initial Keying (RFC 7016 §2.3.8): its packet goes
-- to the initiator's ID, and its payload has the responder's.

local sha256, keylog, profiles = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(keylog) ~= "table" then
    return
end

local keys = {}

-- Packets to an unknown session ID that are tried with every key of the log, before the ID is given up.
local MOST_TRIALS = 8
-- Unknown session IDs that are remembered.
local MOST_UNKNOWN = 65536
-- Directions that a session ID stands for: two, but for IDs that are used again, and for forged keyings.
local MOST_DIRECTIONS = 16

-- Directions that a session ID stands for: lists of { digest, from }, `from` being "I" or "R"; `proved` is true once one
-- has opened a packet. Each is by its name in its list too.
local known
-- How often a session ID was tried with all keys, and how many there were.
local trials, trial_count

function keys.reset()
    keylog.reset()
    known, trials, trial_count = {}, {}, 0
end
keys.reset()

-- A session ID stands for packets that the initiator ("I") or the responder ("R") sends in this session.
local function learn(id, digest, from)
    local list = known[id] or {}
    known[id] = list
    local name = from .. digest
    if list[name] then
        return list[name]
    end
    -- Anybody can forge a keying: what has opened no packet goes first, and the oldest of that.
    if #list >= MOST_DIRECTIONS then
        local oldest = 1
        for place, entry in ipairs(list) do
            if not entry.proved then
                oldest = place
                break
            end
        end
        list[table.remove(list, oldest).name] = nil
    end
    local entry = { digest = digest, from = from, name = name }
    list[#list + 1], list[name] = entry, entry
    return entry
end

-- A Responder Initial Keying went to the initiator's session ID, and tells the responder's.
function keys.keying(initiator_id, responder_id, component)
    local digest = sha256(component)
    learn(initiator_id, digest, "R")
    learn(responder_id, digest, "I")
end

-- Whether a session ID was seen in a keying, or opened a packet.
function keys.knows(id)
    return known[id] ~= nil
end

-- Tries every key of the log on a packet whose handshake is not in the capture.
local function try_all(id, sealed)
    local tried = trials[id]
    if not tried then
        -- Packets of other protocols have session IDs by chance, of which not all are remembered.
        if trial_count >= MOST_UNKNOWN then
            trials, trial_count = {}, 0
        end
        tried = { count = 0, keys = 0 }
        trials[id], trial_count = tried, trial_count + 1
    end
    if tried.keys ~= #keylog.order then
        tried.keys, tried.count = #keylog.order, 0
    end
    if tried.count >= MOST_TRIALS then
        return nil
    end
    tried.count = tried.count + 1
    for _, session in ipairs(keylog.order) do
        for _, from in ipairs({ "I", "R" }) do
            local opened = session[from]:guess(sealed)
            if opened then
                learn(id, session.digest, from).proved = true
                opened.how, opened.from = "session key (found by trial)", from
                return opened
            end
        end
    end
    return nil
end

-- Opens a packet under the Default Session Key of a profile, if it is a startup packet.
function keys.open_startup(sealed)
    for _, profile in ipairs(profiles) do
        local opened = profile.open_startup(sealed)
        if opened then
            opened.how = "Default Session Key"
            return opened
        end
    end
    return nil
end

-- Opens a packet with the keys that were learnt for its session ID. Returns nil and what failed if there are some.
function keys.open_known(id, sealed)
    keylog.refresh()
    local failed
    for _, entry in ipairs(known[id] or {}) do
        local session = keylog.sessions[entry.digest]
        if session then
            local opened, why = session[entry.from]:open(sealed)
            if opened then
                entry.proved = true
                opened.how, opened.from = "session key", entry.from
                return opened
            end
            failed = failed or why
        end
    end
    return nil, failed
end

-- Opens a packet that the learnt keys did not open, because of `failed` if there were some: keyings can be forged. Returns
-- nil and why if that is not possible.
function keys.open_unknown(id, sealed, failed)
    keylog.refresh()
    local opened = #keylog.order > 0 and try_all(id, sealed)
    if opened then
        return opened
    end
    if failed then
        return nil, "The key log has keys for this session, but with them " .. failed
    end
    if keylog.file == "" then
        return nil, "No key log is set (preference rtmfp.keylog, or RTMFP_KEYLOG in the environment)"
    elseif keylog.problem then
        return nil, "The key log cannot be read: " .. keylog.problem
    elseif known[id] then
        return nil, "The key log has no line for this session"
    else
        return nil, "The handshake of this session is not in the capture, and no key of the key log opens the packet"
    end
end

return keys
