-- Lists of options (RFC 7016 §2.1.3) within fields whose layout a profile defines. What does not follow the layout is left
-- as bytes, and is no error.

local F, reader = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(F) ~= "table" then
    return
end

local options = {}

-- The most options of a field that are shown.
local MOST_SHOWN = 1000

-- One option or marker: its type, a reader over its value, and its range; no type for a marker.
local function option(r)
    local from = r.at
    local sub = r:sized()
    local kind = sub:left() > 0 and sub:vlu():tonumber() or nil
    return kind, sub, r.tvb(from, r.at - from)
end

-- Calls `show` for each of the options that fill `r`.
local function each(r, tree, show)
    local shown = 0
    while r:left() > 0 and shown < MOST_SHOWN do
        local kind, value, range = option(r)
        if not show(tree, kind, value, range) then
            tree:add(F.option_value, range)
        end
        shown = shown + 1
    end
    return true
end

local function copy(r)
    return reader.new(r.tvb, r.at, r:left())
end

-- Shows options below the item of a field, if the field has that form.
function options.show(show, r, tree)
    local check = copy(r)
    local whole = reader.try(function()
        while check:left() > 0 do
            option(check)
        end
        return true
    end)
    if whole and r:left() > 0 then
        -- An option whose value is not as it should be ends the list; it is in the bytes above.
        reader.try(each, copy(r), tree, show)
    end
end

-- The type of the first option; nil if there is none.
function options.first(r)
    local kind = r:left() > 0 and reader.try(option, copy(r))
    return kind or nil
end

-- Adds a value as text, which may be empty.
function options.add_text(tree, field, r, encoding)
    local range, length = r:range()
    if length > 0 then
        tree:add(field, range, range:string(encoding or ENC_ASCII))
    else
        tree:add(field, ""):set_generated()
    end
    return true
end

-- Adds a value as bytes; all of the option if the value is empty.
function options.add_bytes(tree, field, r, all)
    local range, length = r:range()
    tree:add(field, length > 0 and range or all)
    return true
end

return options
