-- Reads the elements of RFC 7016 §2.1 from a tvb, never past an end. What does not follow the syntax raises MALFORMED,
-- which `reader.try` turns into a return value; so no input raises a Lua error.

local reader = {}
reader.__index = reader

local MALFORMED = { "malformed" }

-- Over `length` bytes of a tvb from `offset` on.
function reader.new(tvb, offset, length)
    return setmetatable({ tvb = tvb, at = offset, stop = offset + length }, reader)
end

-- Calls `read` with what follows it; returns what it returns, or nil if the bytes are malformed.
function reader.try(read, ...)
    local results = table.pack(pcall(read, ...))
    if results[1] then
        return table.unpack(results, 2, results.n)
    end
    if results[2] ~= MALFORMED then
        error(results[2], 0)
    end
    return nil
end

function reader.malformed()
    error(MALFORMED, 0)
end

function reader:left()
    return self.stop - self.at
end

-- A range of `length` bytes. Empty ranges are left to callers: Wireshark has none.
function reader:bytes(length)
    if length > self:left() then
        reader.malformed()
    end
    self.at = self.at + length
    return self.tvb(self.at - length, length), length
end

function reader:u8()
    local range = self:bytes(1)
    return range:uint(), range
end

function reader:u16()
    local range = self:bytes(2)
    return range:uint(), range
end

function reader:u32()
    local range = self:bytes(4)
    return range:uint(), range
end

-- A VLU (§2.1.2) as UInt64, and its range. One above 2^64 - 1 is malformed.
function reader:vlu()
    local from, value = self.at, UInt64.new(0, 0)
    while true do
        local digit = self:u8()
        if value:higher() >= 0x2000000 then
            reader.malformed()
        end
        value = value:lshift(7):bor(UInt64.new(digit % 128, 0))
        if digit < 128 then
            return value, self.tvb(from, self.at - from)
        end
    end
end

-- A VLU that counts bytes which must be there: a number.
function reader:length()
    local value, range = self:vlu()
    if value > UInt64.new(self:left(), 0) then
        reader.malformed()
    end
    return value:tonumber(), range
end

-- A reader over as many bytes as a VLU before them says.
function reader:sized()
    local length = self:length()
    local sub = reader.new(self.tvb, self.at, length)
    self.at = self.at + length
    return sub
end

-- A reader over all that is left.
function reader:rest()
    local sub = reader.new(self.tvb, self.at, self:left())
    self.at = self.stop
    return sub
end

-- What is left, as a range, and how long it is; no range if nothing is left.
function reader:range()
    local length = self:left()
    if length == 0 then
        return nil, 0
    end
    return self.tvb(self.at, length), length
end

-- What is left, as a string of bytes.
function reader:raw()
    local range, length = self:range()
    return length == 0 and "" or range:bytes():raw()
end

return reader
