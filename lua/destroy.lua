-- Destroys snapshots, disk by disk. A disk's snapshots are destroyed only if all of its keepers,
-- the snapshots that make them superfluous, exist and the disk is not being received.
--
-- Arguments, word by word:
--   disk DATASET    begins a disk
--   watched DATASET begins a disk for which the program also returns was and changed
--   keeper NAME     a snapshot of the disk that must exist
--   destroy NAME    a snapshot of the disk to destroy
--   check NAME      a snapshot to test only: its errno is the one that destroying would return
-- Returns a table by dataset: { gone = {NAME = errno, …} }, or { missing = NAME } for a keeper that
-- does not exist, or { receiving = 1 }. With missing or receiving, the program changed nothing on
-- the disk. For a watched disk, the table also has was and changed: the times of the last change of
-- the disk's list of snapshots, before and after the program.
--   EBUSY  16  the snapshot has a hold, or is being sent
--   EEXIST 17  a clone depends on the snapshot
local argv = (...)["argv"]

local disks = {}
local i = 1
while argv[i] do
  local word, name = argv[i], argv[i + 1]
  if word == "disk" or word == "watched" then
    disks[#disks + 1] = { name = name, watched = word == "watched", keepers = {}, doomed = {}, checked = {} }
  else
    if string.find(name, "^[%w_.:-]+$") == nil then error("invalid name: " .. name) end
    local d = disks[#disks]
    if word == "keeper" then
      d.keepers[#d.keepers + 1] = name
    elseif word == "destroy" then
      d.doomed[#d.doomed + 1] = name
    elseif word == "check" then
      d.checked[#d.checked + 1] = name
    else
      error("unknown word: " .. word)
    end
  end
  i = i + 2
end

local function changed(disk)
  if not disk.watched or not zfs.exists(disk.name) then return nil end
  local at = zfs.get_prop(disk.name, "snapshots_changed")
  return at
end

local function destroy(disk)
  if zfs.exists(disk.name .. "/%recv") then return { receiving = 1 } end
  for _, name in ipairs(disk.keepers) do
    if not zfs.exists(disk.name .. "@" .. name) then return { missing = name } end
  end
  local gone, was = {}, changed(disk)
  for _, name in ipairs(disk.checked) do
    gone[name] = zfs.check.destroy(disk.name .. "@" .. name)
  end
  for _, name in ipairs(disk.doomed) do
    gone[name] = zfs.sync.destroy(disk.name .. "@" .. name)
  end
  return { gone = gone, was = was, changed = changed(disk) }
end

local result = {}
for _, d in ipairs(disks) do result[d.name] = destroy(d) end
return result
