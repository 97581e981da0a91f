import fc from 'fast-check'
import t from 'tap'
import type { DestinationRow, Zone } from '../../src/rating/catalog.js'
import { buildDestinations } from '../../src/rating/destinations.js'
import { findZone } from '../../src/rating/zones.js'
import { seed } from '../support/seed.js'

const parameters = { numRuns: 2_000, seed }

const rows = (text: string): DestinationRow[] =>
  text.split(' ').map(each => {
    const [prefix, destination] = each.split('=') as [string, string]
    return { prefix, destination }
  })

t.test('the longest prefix decides', t => {
  const destinations = buildDestinations(
    rows('49=de 4915=mobile 491=special 1=us 0=national 112=emergency 123456789012345=long'),
  )
  t.same([...destinations.names].sort(), ['de', 'emergency', 'long', 'mobile', 'national', 'special', 'us'])
  t.equal(destinations.size, 7)
  const table: [string, string | undefined][] = [
    ['4930123456', 'de'],
    ['4915123456', 'mobile'],
    ['4915', 'mobile'],
    ['491', 'special'],
    ['49', 'de'],
    ['4', undefined],
    ['', undefined],
    ['+4915123456', 'mobile'],
    ['004915123456', 'mobile'],
    ['0015551234', 'us'],
    ['00331234', 'national'], // no prefix of 33: as it was dialled
    ['030123456', 'national'],
    ['112', 'emergency'],
    ['1130', 'us'],
    ['12345678901234567890', 'long'],
    ['123456789012344', 'us'],
    ['49abc', 'de'],
    ['*100#', undefined],
    ['+', undefined],
  ]
  for (const [number, expect] of table) t.equal(destinations.find(number), expect, number)
  t.equal(buildDestinations([]).find('49'), undefined)
  t.end()
})

t.test('leading zeros count', t => {
  const destinations = buildDestinations(rows('1=one 01=zero-one 001=zero-zero-one'))
  t.same(
    ['1', '01', '001', '01234'].map(number => destinations.find(number)),
    ['one', 'zero-one', 'one', 'zero-one'],
  )
  t.end()
})

t.test('what is no prefix is refused', t => {
  for (const prefix of ['', '49x', '1234567890123456'])
    t.throws(() => buildDestinations([{ prefix, destination: 'a' }]), { name: 'RangeError' })
  t.end()
})

t.test('every number is found as by a search through all prefixes', t => {
  const digits = (max: number): fc.Arbitrary<string> =>
    fc.array(fc.constantFrom('0', '1', '2', '9'), { minLength: 1, maxLength: max }).map(each => each.join(''))
  const cases = fc.record({
    prefixes: fc.uniqueArray(fc.oneof(digits(4), digits(15)), { maxLength: 60 }),
    number: digits(20),
  })
  fc.assert(
    fc.property(cases, ({ prefixes, number }) => {
      const destinations = buildDestinations(prefixes.map(prefix => ({ prefix, destination: `to-${prefix}` })))
      const numbers = [number, ...prefixes.map(prefix => prefix + number)].filter(each => !each.startsWith('00'))
      return numbers.every(each => {
        const fits = prefixes.filter(prefix => each.startsWith(prefix)).sort((a, b) => b.length - a.length)
        return destinations.find(each) === (fits[0] === undefined ? undefined : `to-${fits[0]}`)
      })
    }),
    parameters,
  )
  t.end()
})

t.test('200,000 prefixes of 70,000 destinations take less than 4 MB, and are all found', t => {
  const all = Array.from({ length: 200_000 }, (_, index) => ({
    prefix: String(100_000 + index * 7_919).slice(0, 12),
    destination: `to-${index % 70_000}`,
  }))
  const before = process.memoryUsage().arrayBuffers
  const destinations = buildDestinations(all)
  const taken = process.memoryUsage().arrayBuffers - before
  t.comment(`${Math.round(taken / 1_000)} kB of arrays`)
  t.ok(taken < 4_000_000, `${taken} octets`)
  t.equal(destinations.size, 200_000)
  t.equal(destinations.names.size, 70_000)
  const longer = new Set(all.map(({ prefix }) => prefix))
  const wrong = all.filter(({ prefix, destination }) => {
    const number = `${prefix}5`
    return destinations.find(number) !== destination && !longer.has(number)
  })
  t.same(wrong, [])
  t.end()
})

t.test('a network is in the zone of the longest pattern, an exact one before all', t => {
  const zone = (name: string, ...plmns: string[]): [string, Zone] => [name, { name, plmns }]
  const zones = new Map([
    zone('home', '26201', '262999'),
    zone('neighbour', '262*'),
    zone('eu', '208*', '2*'),
    zone('partner', '26203*', '310260'),
    zone('world', '*'),
  ])
  const table: [string | undefined, string | undefined][] = [
    ['26201', 'home'],
    ['262010', 'neighbour'],
    ['262999', 'home'],
    ['26203', 'partner'],
    ['262031', 'partner'],
    ['26202', 'neighbour'],
    ['20801', 'eu'],
    ['21401', 'eu'],
    ['310260', 'partner'],
    ['310410', 'world'],
    [undefined, undefined],
  ]
  for (const [plmn, expect] of table) t.equal(findZone(zones, plmn), expect, plmn ?? 'not known')
  t.equal(findZone(new Map([...zones].filter(([name]) => name !== 'world')), '310410'), undefined)
  t.equal(findZone(new Map(), '26201'), undefined)
  t.end()
})

t.test('all prefixes can be read back', t => {
  const given = rows('49=de 4915=mobile 0=national 001=far 123456789012345=long')
  t.same(
    [...buildDestinations(given).rows()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1)),
    [...[...given].sort((a, b) => (a.prefix < b.prefix ? -1 : 1))],
  )
  t.end()
})
