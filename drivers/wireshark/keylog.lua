-- The sessions of a key log.

local kinds = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(kinds) ~= "table" then
    return
end

-- `file` is where it is, and `problem` why it could not be read.
local keylog = { file = "" }

-- How much of the file was read.
local read_to

-- Forgets what was read. `sessions` has a session by the digest of its responder component, and `order` all of them.
-- A session has a direction "I" and one "R", as the files of the profiles make them.
function keylog.reset()
    keylog.sessions, keylog.order, keylog.problem, read_to = {}, {}, nil, 0
end
keylog.reset()

local function from_hex(text)
    return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function read_line(line)
    local label, digest, rest = line:match("^(%S+) (%x+) (.-)%s*$")
    local kind = kinds[label]
    if not kind or #digest ~= 64 then
        return
    end
    local session = kind.session(rest, from_hex)
    if session and not keylog.sessions[from_hex(digest)] then
        session.digest = from_hex(digest)
        keylog.sessions[session.digest] = session
        keylog.order[#keylog.order + 1] = session
    end
end

-- Reads what the file has gained: a program may still be writing it.
function keylog.refresh()
    if keylog.file == "" then
        return
    end
    local file, why = io.open(keylog.file, "rb")
    keylog.problem = why
    if not file then
        return
    end
    file:seek("set", read_to)
    local text = file:read("*a") or ""
    file:close()
    -- A last line without its end is read when it has one.
    local whole = text:match("^.*\n") or ""
    read_to = read_to + #whole
    for line in whole:gmatch("[^\n]+") do
        read_line(line)
    end
end

return keylog
