-- SHA-256 (FIPS 180-4), HMAC-SHA256 (RFC 2104) and HKDF-Expand (RFC 5869).

local bits = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(bits) ~= "table" then
    return
end
local band, bxor, bnot = bits.band, bits.bxor, bits.bnot
local rshift, rrotate, word, unword = bits.rshift, bits.rrotate, bits.word, bits.unword
local byte, char = string.byte, string.char

-- The first 32 bits of the fractional part of the square or cube roots of the first primes.
local function root_fractions(count, power)
    local found, candidate = {}, 2
    while #found < count do
        local prime = true
        for divisor = 2, math.floor(candidate ^ 0.5) do
            if candidate % divisor == 0 then
                prime = false
                break
            end
        end
        if prime then
            local root = candidate ^ power
            found[#found + 1] = math.floor((root - math.floor(root)) * 4294967296)
        end
        candidate = candidate + 1
    end
    return found
end
local start, constants = root_fractions(8, 1 / 2), root_fractions(64, 1 / 3)

local function mix_in(state, block, at)
    local w = {}
    for t = 1, 16 do
        w[t] = word(byte(block, at + 4 * t - 4, at + 4 * t - 1))
    end
    for t = 17, 64 do
        local x, y = w[t - 15], w[t - 2]
        local s0 = bxor(rrotate(x, 7), rrotate(x, 18), rshift(x, 3))
        local s1 = bxor(rrotate(y, 17), rrotate(y, 19), rshift(y, 10))
        w[t] = (w[t - 16] + s0 + w[t - 7] + s1) % 4294967296
    end
    local a, b, c, d, e, f, g, h = table.unpack(state)
    for t = 1, 64 do
        local s1 = bxor(rrotate(e, 6), rrotate(e, 11), rrotate(e, 25))
        local choice = bxor(band(e, f), band(bnot(e), g))
        local t1 = h + s1 + choice + constants[t] + w[t]
        local s0 = bxor(rrotate(a, 2), rrotate(a, 13), rrotate(a, 22))
        local majority = bxor(band(a, b), band(a, c), band(b, c))
        h, g, f, e = g, f, e, (d + t1) % 4294967296
        d, c, b, a = c, b, a, (t1 + s0 + majority) % 4294967296
    end
    for index, value in ipairs({ a, b, c, d, e, f, g, h }) do
        state[index] = (state[index] + value) % 4294967296
    end
end

-- The 32 bytes of SHA-256.
local function sha256(message)
    local bits_low = #message * 8
    local padding = "\128" .. ("\0"):rep((55 - #message) % 64)
    local length = ("\0"):rep(4) .. char(unword(bits_low))
    local padded = message .. padding .. length
    local state = { table.unpack(start) }
    for at = 1, #padded, 64 do
        mix_in(state, padded, at)
    end
    local digest = {}
    for index, value in ipairs(state) do
        digest[index] = char(unword(value))
    end
    return table.concat(digest)
end

local function masked(key, mask)
    return (key:gsub(".", function(c) return char(bxor(byte(c), mask)) end))
end

local function hmac(key, message)
    if #key > 64 then
        key = sha256(key)
    end
    key = key .. ("\0"):rep(64 - #key)
    return sha256(masked(key, 0x5c) .. sha256(masked(key, 0x36) .. message))
end

-- As many bytes of HKDF-Expand as are asked for, at most the 32 of its first block.
local function expand(secret, info, length)
    return hmac(secret, info .. "\1"):sub(1, length)
end

return { sha256 = sha256, hmac = hmac, expand = expand }
