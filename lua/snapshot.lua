-- Takes snapshots of guests' disks, sets their label and bookmarks them, each guest
-- all or nothing, everything in one transaction group.
--
-- Arguments, word by word:
--   guest NAME GUARD       a guest follows; NAME is the part after the @ of all its
--                          snapshots; GUARD is "guard" where a disk that is being
--                          received must not be touched, else "-"
--   disk DATASET DO LABEL  one of its disks; DO holds s for snapshot, b for bookmark,
--                          c for keeping the configuration with the snapshot, and w for
--                          telling what the snapshot is and when their list changed, or
--                          "-"; LABEL is "=value", "=" leaves it alone
--   config VALUE           the configuration for the disks that follow
--   mark DATASET NAME      bookmark a snapshot that is there already
-- Returns a table by dataset: { snapshot=, undone=, label=, bookmark=, config= }, each an
-- errno, 0 for done, and absent where it was not tried; marks = {NAME = errno, …}; and,
-- where that was asked for, was and changed, the list's last change before and after, and
-- guid, createtxg and creation of the snapshot. A guid beyond 2^63 is told as negative.
--   EAGAIN 11  the dataset has a snapshot in this very txg: try in the next
--   EBUSY  16  the dataset is being received
--   EEXIST 17  the name is taken
--   E2BIG   7  the configuration is longer than a property may be
--   ENOSPC 28  no room: the pool is full, or a thick volume has no reserve left
local argv = (...)["argv"]
local EBUSY = 16

-- The kernel checks no name here, and an empty one wrecks the pool (openzfs #13548).
local function valid(dataset, name)
  return string.find(dataset, "^%a[%w_.: /-]*$") ~= nil
    and string.find(name, "^[%w_.:-]+$") ~= nil
    and #dataset + 1 + #name <= 255
end

local guests, marks, config = {}, {}, ""
local i = 1
while argv[i] do
  if argv[i] == "guest" then
    guests[#guests + 1] = { name = argv[i + 1], guard = argv[i + 2] == "guard", disks = {} }
    i = i + 3
  elseif argv[i] == "disk" then
    local g = guests[#guests]
    local d = { name = argv[i + 1], work = argv[i + 2], label = string.sub(argv[i + 3], 2), config = config }
    if not valid(d.name, g.name) then error("no valid name: " .. d.name .. "@" .. g.name) end
    g.disks[#g.disks + 1] = d
    i = i + 4
  elseif argv[i] == "config" then
    config = argv[i + 1]
    i = i + 2
  elseif argv[i] == "mark" then
    if not valid(argv[i + 1], argv[i + 2]) then error("no valid name: " .. argv[i + 1] .. "#" .. argv[i + 2]) end
    marks[#marks + 1] = { dataset = argv[i + 1], name = argv[i + 2] }
    i = i + 3
  else
    error("unknown word: " .. argv[i])
  end
end

local result = {}

local function snapshot(guest, disk)
  if guest.guard and zfs.exists(disk.name .. "/%recv") then return EBUSY end
  return zfs.sync.snapshot(disk.name .. "@" .. guest.name)
end

-- Returns whether every disk of the guest got its snapshot; undoes those made if not.
local function snapshots(guest)
  local made = {}
  for _, d in ipairs(guest.disks) do
    if string.find(d.work, "s", 1, true) then
      local rc = snapshot(guest, d)
      result[d.name].snapshot = rc
      if rc ~= 0 then
        for _, name in ipairs(made) do
          result[name].undone = zfs.sync.destroy(name .. "@" .. guest.name)
        end
        return false
      end
      made[#made + 1] = d.name
    end
  end
  return true
end

-- Returns nil for a disk that is not watched, or that is not there.
local function changed(disk)
  if string.find(disk.work, "w", 1, true) == nil or not zfs.exists(disk.name) then return nil end
  local at = zfs.get_prop(disk.name, "snapshots_changed")
  return at
end

for _, guest in ipairs(guests) do
  for _, d in ipairs(guest.disks) do result[d.name] = { was = changed(d) } end
  guest.taken = snapshots(guest)
  if guest.taken then
    for _, d in ipairs(guest.disks) do
      if d.label ~= "" then result[d.name].label = zfs.sync.set_prop(d.name, "label:running", d.label) end
    end
    for _, d in ipairs(guest.disks) do
      if string.find(d.work, "b", 1, true) then
        result[d.name].bookmark = zfs.sync.bookmark(d.name .. "@" .. guest.name, d.name .. "#" .. guest.name)
      end
    end
  end
end

for _, guest in ipairs(guests) do
  for _, d in ipairs(guest.disks) do
    local r = result[d.name]
    r.changed = changed(d)
    if guest.taken and r.changed and r.snapshot == 0 then
      for _, property in ipairs({ "guid", "createtxg", "creation" }) do
        local value = zfs.get_prop(d.name .. "@" .. guest.name, property)
        r[property] = value
      end
    end
  end
end

for _, m in ipairs(marks) do
  local r = result[m.dataset] or {}
  result[m.dataset] = r
  r.marks = r.marks or {}
  r.marks[m.name] = zfs.sync.bookmark(m.dataset .. "@" .. m.name, m.dataset .. "#" .. m.name)
end

-- Last, so that whatever goes wrong with it all else is done.
for _, guest in ipairs(guests) do
  for _, d in ipairs(guest.disks) do
    if guest.taken and string.find(d.work, "c", 1, true) then
      result[d.name].config = zfs.sync.set_prop(d.name .. "@" .. guest.name, "snapwatch:config", d.config)
    end
  end
end

return result
