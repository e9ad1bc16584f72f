-- Words of 32 bits, and how they stand in strings of bytes.

-- Lua 5.2 has bit32. From 5.3 on the language has operators of its own, which older versions cannot even parse.
local bits = bit32 or load([[
    local function low(a) return a & 0xffffffff end
    return {
        band = function(a, b) return a & b end,
        bxor = function(a, b, ...)
            local x = a ~ b
            for _, c in ipairs({...}) do x = x ~ c end
            return x
        end,
        bnot = function(a) return low(~a) end,
        rshift = function(a, n) return low(a) >> n end,
        lshift = function(a, n) return low(a << n) end,
        rrotate = function(a, n) a = low(a); return low(a >> n | a << (32 - n)) end,
    }
]])()
local band, rshift, byte, char = bits.band, bits.rshift, string.byte, string.char

-- The word of four bytes.
local function word(a, b, c, d)
    return a * 16777216 + b * 65536 + c * 256 + d
end

-- The four bytes of a word.
local function unword(w)
    return rshift(w, 24), band(rshift(w, 16), 255), band(rshift(w, 8), 255), band(w, 255)
end

-- The four big-endian words from `at` on; what is beyond the end counts as zeros.
local function words(text, at)
    if at + 15 > #text then
        text, at = text:sub(at) .. ("\0"):rep(16), 1
    end
    local b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16 = byte(text, at, at + 15)
    return word(b1, b2, b3, b4), word(b5, b6, b7, b8), word(b9, b10, b11, b12), word(b13, b14, b15, b16)
end

-- The 16 bytes of four big-endian words.
local function unwords(a, b, c, d)
    local a1, a2, a3, a4 = unword(a)
    local b1, b2, b3, b4 = unword(b)
    local c1, c2, c3, c4 = unword(c)
    return char(a1, a2, a3, a4, b1, b2, b3, b4, c1, c2, c3, c4, unword(d))
end

return {
    band = band, bxor = bits.bxor, bnot = bits.bnot, rshift = rshift, lshift = bits.lshift, rrotate = bits.rrotate,
    word = word, unword = unword, words = words, unwords = unwords,
}
