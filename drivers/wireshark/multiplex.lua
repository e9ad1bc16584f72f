-- The session ID of a Multiplex packet (RFC 7016 §2.2.2), and where several packets stand end to end.

local xor = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(xor) ~= "function" then
    return
end

local multiplex = {}

-- The shortest datagram of any profile: a session ID and one cipher block of the Flash profile. The modern profile has a
-- flags byte and a tag at least, and a counter in sessions.
local SHORTEST = 20

-- The session ID of a Multiplex packet .
function multiplex.session_id(tvb)
    local words = { 0, 0, 0, 0 }
    for at = 0, math.min(tvb:len(), 12) - 1 do
        local value = tvb(at, 1):uint()
        local place = at % 4 + 1
        words[place] = xor(words[place], value)
    end
    return ((words[1] * 256 + words[2]) * 256 + words[3]) * 256 + words[4]
end

-- The length of the datagrams that stand in this one end to end, the last of them maybe shorter; nil if it is only one.
-- A host that leaves the cutting to its network card hands several over as one, and a capture on that host has them so.
-- They are of one session: its ID comes out where each of them begins, and nowhere else but for one time in 2^32.
function multiplex.segment_length(tvb, id)
    local raw, stop = tvb:bytes():raw(), tvb:len() - SHORTEST
    local first = math.floor(id / 16777216)
    local function begins(at)
        local a1, a2, a3, a4, b1, b2, b3, b4, c1, c2, c3, c4 = raw:byte(at + 1, at + 12)
        -- Most are ruled out by one byte.
        return xor(a1, b1, c1) == first
            and ((first * 256 + xor(a2, b2, c2)) * 256 + xor(a3, b3, c3)) * 256 + xor(a4, b4, c4) == id
    end
    for length = SHORTEST, stop do
        if begins(length) then
            local all = true
            for at = 2 * length, tvb:len() - 1, length do
                all = all and at <= stop and begins(at)
            end
            return all and length or nil
        end
    end
    return nil
end

return multiplex
