-- What stands around the plain packet in an encrypted one: RFC 7425 §4.7.2, and "Packets" of the modern profile.

local F, reader = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(F) ~= "table" then
    return
end

local front = {}

local function flash(opened, plain, sealed, tree)
    local at = 0
    if opened.sequence_length then
        local r = reader.new(plain, 0, opened.sequence_length)
        local number, range = r:vlu()
        tree:add(F.sseq, range, number)
        at = opened.sequence_length
    end
    if opened.checksum then
        tree:add(F.checksum, plain(at, 2)):append_text(" (correct)")
    end
    if opened.hmac_length > 0 then
        local item = tree:add(F.hmac, sealed(sealed:len() - opened.hmac_length))
        item:append_text(opened.hmac_checked and " (correct)" or " (not checked)")
    end
end

local function modern(opened, _, sealed, tree)
    if opened.counter then
        local range, low = sealed(0, opened.counter_length), opened.counter % 4294967296
        local high = (opened.counter - low) / 4294967296
        tree:add(F.counter, range, UInt64.new(low, high)):append_text(" (without its mask)")
        tree:add(F.epoch, range, UInt64.new(opened.epoch, 0)):set_generated()
    end
    tree:add(F.aead_tag, sealed(sealed:len() - opened.tag_length)):append_text(" (correct)")
end

local profiles = { flash = flash, modern = modern }

-- Shows it: `plain` and `sealed` are the packet after and before it was opened.
function front.show(opened, plain, sealed, tree)
    tree:add(F.key, opened.how):set_generated()
    tree:add(F.profile, opened.profile):set_generated()
    profiles[opened.profile](opened, plain, sealed, tree)
end

return front
