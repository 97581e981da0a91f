/** Codes of vouchers: check digit, form, where they are kept, and the key file that all of it hangs on. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { readRanges, sizeOf, withoutRange, withRange, writeRanges } from '../../src/recharge/serial-ranges.js'
import { checkDigit, codeOf, placeOf, readCode } from '../../src/recharge/voucher-codes.js'
import { readOrMakeVoucherKeys, voucherKey } from '../../src/recharge/voucher-key.js'
import { seed } from '../support/seed.js'

const parameters = { seed, numRuns: 500 }
const digits = fc.stringMatching(/^[1-9]\d{9,19}$/)

t.test('the check digit is that of Damm', t => {
  t.equal(checkDigit('572'), '4', 'the example of his table')
  t.end()
})

t.test('a code with one wrong digit, or two neighbours exchanged, is none', t => {
  fc.assert(
    fc.property(digits, fc.nat(), fc.integer({ min: 1, max: 9 }), (number, place, off) => {
      const code = number + checkDigit(number)
      const at = place % code.length
      const wrong = code.slice(0, at) + String((Number(code[at]) + off) % 10) + code.slice(at + 1)
      const next = at % (code.length - 1)
      const exchanged = code.slice(0, next) + code[next + 1]! + code[next]! + code.slice(next + 2)
      return (
        readCode(code) === code &&
        readCode(wrong) === undefined &&
        (exchanged === code || readCode(exchanged) === undefined)
      )
    }),
    parameters,
  )
  t.end()
})

t.test('a code is read with the spaces and hyphens that people write', t => {
  const code = codeOf(Buffer.from('a seed'), 1, 0, 14)
  t.match(code, /^[1-9]\d{14}$/)
  t.equal(readCode(` ${code.slice(0, 5)}-${code.slice(5, 10)} ${code.slice(10)}\n`), code)
  for (const written of ['', '0', 'abc', `${code}x`, code.slice(1), '1'.repeat(40)])
    t.equal(readCode(written), undefined, JSON.stringify(written))
  t.end()
})

t.test('codes of a seed are the same again, all different, and of another seed others', t => {
  const seed = randomBytes(32)
  const codes = Array.from({ length: 2000 }, (_, serial) => codeOf(seed, serial + 1, 0, 14))
  t.equal(new Set(codes).size, codes.length)
  t.equal(codeOf(seed, 7, 0, 14), codes[6])
  t.not(codeOf(seed, 7, 1, 14), codes[6])
  t.not(codeOf(randomBytes(32), 7, 0, 14), codes[6])
  t.equal(codeOf(seed, 7, 0, 20).length, 21)
  t.end()
})

t.test('a code is kept under its HMAC, which is another with another key', t => {
  const [a, b] = [voucherKey('a'.repeat(32)), voucherKey('b'.repeat(32))]
  const place = placeOf('123456789012345', a.pepper, 1024)
  t.ok(place.bucket < 1024)
  t.match(place.field, /^[\w-]{8}$/)
  t.same(placeOf('123456789012345', a.pepper, 1024), place)
  t.not(placeOf('123456789012345', b.pepper, 1024).field, place.field)
  t.not(a.id, b.id)
  const seed = randomBytes(32)
  const sealed = a.seal(seed)
  t.not(a.seal(seed), sealed)
  t.same(a.open(sealed), seed)
  t.throws(() => b.open(sealed))
  t.throws(() => a.open(`A${sealed.slice(1)}A`))
  t.end()
})

t.test('the key file is made once, for its owner only, and may hold older keys', t => {
  const folder = mkdtempSync(join(tmpdir(), 'ocsd-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'data', 'voucher.key')
  const [made] = readOrMakeVoucherKeys(file)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.equal(readOrMakeVoucherKeys(file)[0]!.id, made!.id)
  writeFileSync(file, `${'n'.repeat(40)}\n${readFileSync(file, 'utf8')}`)
  t.same(
    readOrMakeVoucherKeys(file).map(({ id }) => id),
    [voucherKey('n'.repeat(40)).id, made!.id],
  )
  writeFileSync(file, 'short\n')
  t.throws(() => readOrMakeVoucherKeys(file), /at least 32 characters.*copy the file/)
  writeFileSync(file, '')
  t.throws(() => readOrMakeVoucherKeys(file), /at least 32 characters/)
  chmodSync(file, 0o644)
  t.throws(() => readOrMakeVoucherKeys(file), /chmod 600/)
  t.end()
})

t.test('ranges of serials behave like sets', t => {
  const range = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(10)).map(([from, more]) => ({ from, to: from + more }))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), range), { maxLength: 12 }), steps => {
      let ranges = readRanges('')
      const set = new Set<number>()
      for (const [add, { from, to }] of steps) {
        ranges = add ? withRange(ranges, { from, to }) : withoutRange(ranges, { from, to })
        for (let n = from; n <= to; n++)
          if (add) set.add(n)
          else set.delete(n)
      }
      const again = readRanges(writeRanges(ranges))
      const inRanges = again.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i))
      const apart = again.every((each, i) => i === 0 || each.from > again[i - 1]!.to + 1)
      return apart && sizeOf(again) === set.size && inRanges.every(n => set.has(n))
    }),
    parameters,
  )
  t.end()
})
