-- Takes snapshots of guests' disks, sets the disks' labels and makes bookmarks of the snapshots.
-- For each guest this is done completely or not at all, and all changes are in one transaction
-- group.
--
-- Arguments, word by word:
--   guest NAME GUARD       begins a guest; NAME is the name, after the @, of all its snapshots;
--                          GUARD is "guard" if disks that are being received must not be changed,
--                          else "-"
--   disk DATASET DO LABEL  a disk of the guest; DO is "-" or contains s for snapshot, b for bookmark,
--                          c for storing the configuration on the snapshot, and w for returning
--                          was, changed and the snapshot's properties; LABEL is "=value", or "=" to
--                          leave the label as it is
--   config VALUE           the configuration for the following disks
--   mark DATASET NAME      makes a bookmark of an existing snapshot
-- Returns a table by dataset: { snapshot=, undone=, label=, bookmark=, config= }. Each value is an
-- errno, 0 for success, and is absent if the step was not tried. marks = {NAME = errno, …} is the
-- result of the words mark. For a disk with w, the table also has was and changed, the times of the
-- last change of the disk's list of snapshots before and after the program, and guid, createtxg and
-- creation of the snapshot. A guid above 2^63 is returned as a negative number.
--   EAGAIN 11  the dataset already has a snapshot in this txg: try again in the next txg
--   EBUSY  16  the dataset is being received
--   EEXIST 17  a snapshot of this name exists
--   E2BIG   7  the configuration is too long for a property
--   ENOSPC 28  no space: the pool is full, or a volume with a reservation cannot reserve more
local argv = (...)["argv"]
local EBUSY = 16

-- The kernel does not check names in channel programs, and an empty name corrupts the pool
-- (openzfs #13548).
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
    if not valid(d.name, g.name) then error("invalid name: " .. d.name .. "@" .. g.name) end
    g.disks[#g.disks + 1] = d
    i = i + 4
  elseif argv[i] == "config" then
    config = argv[i + 1]
    i = i + 2
  elseif argv[i] == "mark" then
    if not valid(argv[i + 1], argv[i + 2]) then error("invalid name: " .. argv[i + 1] .. "#" .. argv[i + 2]) end
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

-- Takes the snapshots of all disks of the guest and returns true. If one snapshot fails, destroys
-- the snapshots made before and returns false.
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

-- Returns the time of the last change of the disk's list of snapshots, or nil if the disk does not
-- exist or the time was not requested.
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

-- The configuration is stored last, so that a failure of this step cannot prevent the other steps.
for _, guest in ipairs(guests) do
  for _, d in ipairs(guest.disks) do
    if guest.taken and string.find(d.work, "c", 1, true) then
      result[d.name].config = zfs.sync.set_prop(d.name .. "@" .. guest.name, "snapwatch:config", d.config)
    end
  end
end

return result
