/** The bearer token of the admin API: made at first start, 256 bit of chance, in a file that only its owner reads. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

export interface AdminToken {
  readonly token: string
  /** True when this start made it. */
  readonly made: boolean
}

/** Shorter ones can be guessed. */
const shortest = 32

/**
 * Reads the token, or makes one when there is no file.
 *
 * @throws Error when others may read the file, or what it holds is no token
 */
export function readOrMakeToken(path: string): AdminToken {
  const made = make(path)
  const mode = statSync(path).mode & 0o777
  if ((mode & 0o077) !== 0) {
    throw new Error(
      `${path} can be read by others (mode ${mode.toString(8)}): run chmod 600 ${path}, and if others were there, ` +
        'remove it so that the next start makes a new token',
    )
  }
  const token = readFileSync(path, 'utf8').trim()
  if (!/^[\x21-\x7e]+$/.test(token) || token.length < shortest) {
    throw new Error(`${path} holds no token of at least ${shortest} characters: remove it and the next start makes one`)
  }
  return { token, made }
}

function make(path: string): boolean {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  try {
    writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Compares in constant time, whatever is sent. */
export function tokenCheck(token: string): (authorization: string | undefined) => boolean {
  const expected = digest(token)
  return authorization => {
    const sent = /^Bearer +([^ ]+)$/i.exec(authorization ?? '')?.[1] ?? ''
    return timingSafeEqual(digest(sent), expected)
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
