-- What the modern profile puts into fields that RFC 7016 leaves to profiles. The sections are of its specification, which
-- is README.md in core/src/profile/modern.

local F, options, sha256 = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(F) ~= "table" then
    return
end
local add_text, add_bytes = options.add_text, options.add_bytes

local modern = {}

-- Lengths of keys, hashes and signatures, and the most ciphers of a component.
local KEY, SIGNATURE, MOST_CIPHERS = 32, 64, 16

-- Whether a field has options of this profile: their types are those of no other.
function modern.claims(r)
    local kind = options.first(r)
    return kind ~= nil and kind >= 0x41 and kind <= 0x5f
end

-- Adds a peer ID as programs write it.
local function add_peer_id(tree, r, id)
    return tree:add(F.peer_id, (r:range()), (id:gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
end

-- Adds bytes that have this length and no other.
local function exactly(length, tree, field, r, all)
    return r:left() == length and add_bytes(tree, field, r, all)
end

local function hostname(tree, field, r)
    return r:left() > 0 and add_text(tree, field, r, ENC_UTF_8)
end

-- Options with odd types may not be unknown.
local function unknown(tree, kind, all)
    local item = tree:add(F.option_value, all)
    if not kind then
        item:append_text(" (a marker, for which the field is refused)")
    elseif kind % 2 == 1 then
        item:append_text(" (critical: who does not know it refuses the field)")
    end
    return true
end

-- "Identity and certificate".
local function certificate(tree, kind, r, all)
    if kind == 0x41 and r:left() == KEY then
        add_bytes(tree, F.identity, r)
        return add_peer_id(tree, r, sha256("RTMFP modern 1 peer ID" .. r:raw())):set_generated()
    end
    return kind == 0x42 and hostname(tree, F.modern_hostname, r)
        or kind == 0x44 and exactly(0, tree, F.modern_accepts_ancillary, r, all)
        or unknown(tree, kind, all)
end

-- "Endpoint Discriminator".
local function discriminator(tree, kind, r, all)
    return kind == 0x4f and r:left() == KEY and add_peer_id(tree, r, r:raw())
        or kind == 0x42 and hostname(tree, F.modern_hostname, r)
        or kind == 0x44 and add_text(tree, F.modern_ancillary, r, ENC_UTF_8)
        or unknown(tree, kind, all)
end

local function ciphers(tree, r)
    if r:left() == 0 or r:left() > MOST_CIPHERS then
        return false
    end
    while r:left() > 0 do
        tree:add(F.cipher, (r:bytes(1)))
    end
    return true
end

-- "Keying components".
local function component(ml_kem)
    return function(tree, kind, r, all)
        return kind == 0x51 and exactly(KEY, tree, F.x25519, r)
            or kind == 0x53 and ciphers(tree, r)
            or kind == 0x56 and add_bytes(tree, ml_kem, r, all)
            or unknown(tree, kind, all)
    end
end
local components = { I = component(F.ml_kem_key), R = component(F.ml_kem_ciphertext) }

function modern.certificate(r, tree) options.show(certificate, r, tree) end
function modern.discriminator(r, tree) options.show(discriminator, r, tree) end
-- `from` is "I" or "R", as the component is of the initiator or the responder.
function modern.component(r, tree, from) options.show(components[from], r, tree) end

-- "Signatures".
function modern.signature(r, tree)
    if r:left() == SIGNATURE then
        add_bytes(tree, F.ed25519_signature, r)
    end
end

return modern
