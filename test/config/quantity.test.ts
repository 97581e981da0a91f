import t from 'tap'
import { hintForSize, parseDuration, parsePercent, parseSize } from '../../src/config/quantity.js'

t.test('sizes are whole octets, by powers of 1000 or of 1024', t => {
  const table: [string, bigint | undefined][] = [
    ['100kB', 100_000n],
    ['100KiB', 102_400n],
    ['1MB', 1_000_000n],
    ['1MiB', 1_048_576n],
    ['5GB', 5_000_000_000n],
    ['1TiB', 1_099_511_627_776n],
    ['0.5MB', 500_000n],
    ['1.5KiB', 1_536n],
    ['20B', 20n],
    ['0.5B', undefined],
    ['0.0001kB', undefined],
    ['100', undefined],
    ['100KB', undefined],
    ['1 MB', undefined],
    ['-1MB', undefined],
    ['MB', undefined],
    ['1constructor', undefined],
  ]
  for (const [text, expect] of table) t.equal(parseSize(text), expect, text)
  t.end()
})

t.test('durations are milliseconds', t => {
  const table: [string, number | undefined][] = [
    ['500ms', 500],
    ['30s', 30_000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['30d', 2_592_000_000],
    ['2w', 1_209_600_000],
    ['30', undefined],
    ['30 s', undefined],
    ['1.5h', undefined],
    ['1y', undefined],
    ['1constructor', undefined],
  ]
  for (const [text, expect] of table) t.equal(parseDuration(text), expect, text)
  t.end()
})

t.test('shares are whole percents', t => {
  t.same(['0%', '20%', '100%', '101%', '20', '2.5%'].map(parsePercent), [0, 20, 100, undefined, undefined, undefined])
  t.end()
})

t.test('a wrong size gets what it may have meant', t => {
  t.equal(hintForSize('100KB'), 'write 100kB or 100KiB')
  t.equal(hintForSize('5 gb'), 'write 5GB or 5GiB')
  t.equal(hintForSize('5G'), 'write 5GB or 5GiB')
  t.match(hintForSize('many'), /write a size like/)
  t.end()
})
