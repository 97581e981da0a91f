/**
 * What stands for a subscriber's identity where the identity itself must not: an HMAC under a key of this installation. The same identity
 * always has the same pseudonym, so lines about one person can be found by whoever may ask for it; nobody gets the identity back from it.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/** Of an identity: its digits or name, whatever type it has. */
export type Pseudonym = (identity: string) => string

const shortest = 32
/** Half a SHA-256 names more than anybody has subscribers. */
const characters = 22

/**
 * Reads the key, or makes one when there is no file.
 *
 * @throws Error when others may read the file, or what it holds is no key
 */
export function pseudonymsOf(path: string): Pseudonym {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  try {
    writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const mode = statSync(path).mode & 0o777
  if ((mode & 0o077) !== 0)
    throw new Error(`${path} can be read by others (mode ${mode.toString(8)}): run chmod 600 ${path}`)
  const key = readFileSync(path, 'utf8').trim()
  if (key.length < shortest)
    throw new Error(`${path} holds no key of at least ${shortest} characters: remove it and the next start makes one`)
  return identity => `p-${createHmac('sha256', key).update(identity).digest('base64url').slice(0, characters)}`
}
