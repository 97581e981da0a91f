/**
 * The codes of vouchers: what is printed on them, and the little of it that is kept (semantics.md section 10).
 *
 * A code is digits by chance and a check digit of Damm's. Damm's and not Luhn's: it finds every wrong digit and every two neighbours that
 * were exchanged, while Luhn takes 09 for 90. A batch has a secret seed, from which its codes follow as long as it exists: so an export
 * that broke off gives the same codes again, and none can be had once the seed is erased. At rest a code is 65 bits or so of its
 * HMAC-SHA-256: a hash bucket and eight characters in it.
 */
import { createHmac } from 'node:crypto'

/** Where a code is kept: the number of a hash, and its field there. */
export interface CodePlace {
  readonly bucket: number
  readonly field: string
}

/** Digits of a code without its check digit. */
export const codeDigits = { min: 10, max: 20, default: 14 } as const

/** The table of a quasigroup that is totally anti-symmetric: H. Michael Damm, 2004. */
const damm = [
  '0317598642',
  '7092154863',
  '4206871359',
  '1750983426',
  '6123045978',
  '3674209581',
  '5869720134',
  '8945362017',
  '9438617205',
  '2581436790',
] as const

/** The digit that makes a number right. */
export function checkDigit(digits: string): string {
  let interim = '0'
  for (const digit of digits) interim = damm[Number(interim)]![Number(digit)]!
  return interim
}

/** The digits of a code as somebody wrote it, with spaces or hyphens perhaps; undefined: mistyped, it is none. */
export function readCode(written: string): string | undefined {
  const code = written.replaceAll(/[\s-]/g, '')
  const wellFormed = /^\d+$/.test(code) && code.length > codeDigits.min && code.length <= codeDigits.max + 1
  return wellFormed && checkDigit(code) === '0' ? code : undefined
}

/**
 * The code of a voucher; its next `attempt` where another voucher has that code.
 *
 * @param seed of the batch, secret
 * @param digits without the check digit
 */
export function codeOf(seed: Buffer, serial: number, attempt: number, digits: number): string {
  const mac = createHmac('sha256', seed).update(`${serial} ${attempt}`).digest('hex')
  // Its first digit is not 0: spreadsheets take leading zeros away. 128 bits over at most 10^20: no number is likelier than others.
  const least = 10n ** BigInt(digits - 1)
  const number = String(least + (BigInt(`0x${mac.slice(0, 32)}`) % (9n * least)))
  return number + checkDigit(number)
}

/** @param buckets how many there are, a power of two */
export function placeOf(code: string, pepper: Buffer, buckets: number): CodePlace {
  const mac = createHmac('sha256', pepper).update(code).digest()
  return { bucket: mac.readUInt32BE(0) & (buckets - 1), field: mac.subarray(4, 10).toString('base64url') }
}
