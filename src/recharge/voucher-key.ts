/**
 * The secret of the vouchers: without it, what the store has of them tells no code, and no code is found in it. Its file is made at
 * the first start, 256 bit of chance, for its owner's eyes only. All daemons of a store need the same one. A line is a key: the first is
 * used for new batches, those after it for older ones.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

export interface VoucherKey {
  /** Tells it from others, and nothing about it. */
  readonly id: string
  /** For the HMAC of codes. */
  readonly pepper: Buffer
  /** The seed of a batch, made unreadable and readable again. */
  seal(seed: Buffer): string
  open(sealed: string): Buffer
}

/** Shorter ones can be guessed. */
const shortest = 32
const nonceOctets = 12
const tagOctets = 16

/**
 * Reads the keys, or makes one when there is no file.
 *
 * @returns at least one, the one for new batches first
 * @throws Error when others may read the file, or what it holds are no keys
 */
export function readOrMakeVoucherKeys(path: string): readonly VoucherKey[] {
  make(path)
  const mode = statSync(path).mode & 0o777
  if ((mode & 0o077) !== 0)
    throw new Error(`${path} can be read by others (mode ${mode.toString(8)}): run chmod 600 ${path}`)
  const lines = readFileSync(path, 'utf8').split('\n')
  const secrets = lines.map(line => line.trim()).filter(line => line !== '')
  if (secrets.length === 0 || secrets.some(secret => !/^[\x21-\x7e]+$/.test(secret) || secret.length < shortest))
    throw new Error(
      `${path} must hold keys of at least ${shortest} characters, one a line: copy the file of another daemon of this store, ` +
        'or remove it when no batch of vouchers was ever made, and the next start makes one',
    )
  return secrets.map(voucherKey)
}

function make(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  try {
    writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

export function voucherKey(secret: string): VoucherKey {
  const derived = (use: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', `ocsd voucher ${use}`, 32))
  const sealing = derived('seed')
  return {
    id: createHash('sha256').update(derived('id')).digest('hex').slice(0, 12),
    pepper: derived('code'),
    seal: seed => {
      const nonce = randomBytes(nonceOctets)
      const cipher = createCipheriv('aes-256-gcm', sealing, nonce)
      const sealed = Buffer.concat([cipher.update(seed), cipher.final()])
      return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')
    },
    open: text => {
      const all = Buffer.from(text, 'base64url')
      const decipher = createDecipheriv('aes-256-gcm', sealing, all.subarray(0, nonceOctets), {
        authTagLength: tagOctets,
      })
      decipher.setAuthTag(all.subarray(nonceOctets, nonceOctets + tagOctets))
      return Buffer.concat([decipher.update(all.subarray(nonceOctets + tagOctets)), decipher.final()])
    },
  }
}
