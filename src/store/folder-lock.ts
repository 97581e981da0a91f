/**
 * One daemon for one data folder. The lock is a file that names its owner; an owner that is dead has lost it.
 * It is linked into place whole, so a reader never sees half of one.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface FolderLock {
  /** What the dead owner had noted, when the lock was taken over from one. */
  readonly leftBehind: LockNote | undefined
  /** Replaces our note. */
  note(note: LockNote): void
  release(): void
}

/** Found by the next daemon when this one is killed. */
export interface LockNote {
  /** Folder with the store's socket, ours to remove. */
  readonly socketFolder?: string
}

interface Owner extends LockNote {
  readonly pid: number
  /** Start of the process in clock ticks since boot, where the system tells: a pid alone is used again. */
  readonly started: string | undefined
}

const lockName = 'ocsd.lock'

/**
 * Takes the folder for this process; makes it (mode 700) when it is missing.
 *
 * @throws Error that names the living owner
 */
export function lockFolder(folder: string): FolderLock {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, lockName)
  const mine: Owner = { pid: process.pid, started: startOf(process.pid) }
  for (let attempt = 0; ; attempt++) {
    if (place(path, mine)) return new Lock(path, mine, undefined)
    const owner = read(path)
    if (owner && alive(owner)) {
      throw new Error(
        `${folder} is in use by process ${owner.pid}: stop that daemon first, or give this one another data folder (key data)`,
      )
    }
    if (attempt === 3) throw new Error(`${path} cannot be taken over: remove it when no daemon uses ${folder}`)
    const aside = `${path}.${process.pid}`
    try {
      renameSync(path, aside)
    } catch {
      continue // another daemon was faster: look again
    }
    const moved = read(aside)
    if (moved && alive(moved))
      linkBack(aside, path) // it was faster by more than that: its lock goes back
    else if (place(path, mine)) {
      rmSync(aside, { force: true })
      return new Lock(path, mine, owner)
    }
    rmSync(aside, { force: true })
  }
}

class Lock implements FolderLock {
  constructor(
    private readonly path: string,
    private readonly owner: Owner,
    readonly leftBehind: LockNote | undefined,
  ) {}

  note(note: LockNote): void {
    const draft = `${this.path}.${process.pid}`
    writeFileSync(draft, JSON.stringify({ ...this.owner, ...note }), { mode: 0o600 })
    renameSync(draft, this.path)
  }

  release(): void {
    if (read(this.path)?.pid === process.pid) rmSync(this.path, { force: true })
  }
}

/** False when there is a lock already. */
function place(path: string, owner: Owner): boolean {
  const draft = `${path}.new.${process.pid}`
  writeFileSync(draft, JSON.stringify(owner), { mode: 0o600 })
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

function linkBack(aside: string, path: string): void {
  try {
    linkSync(aside, path)
  } catch {
    // A third one has it by now: the next look decides.
  }
}

function read(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Owner
  } catch {
    return undefined
  }
}

const alive = (owner: Owner): boolean =>
  isAlive(owner.pid) && (owner.started === undefined || owner.started === startOf(owner.pid))

/** True also for a process of another user. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Field 22 of proc_pid_stat(5); the name before it may hold spaces and brackets. A zombie has no start: it is dead. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined
  }
}
