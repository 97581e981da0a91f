import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import type { Conditions, Rule } from '../../src/rating/catalog.js'
import { CoverIndex, without } from '../../src/rating/cover-index.js'
import { covers } from '../../src/rating/load-conditions.js'
import { seed } from '../support/seed.js'

const someOf = (...values: string[]): fc.Arbitrary<ReadonlySet<string>> =>
  fc.subarray(values, { minLength: 1 }).map(list => new Set(list))

const numbers = fc.record({
  values: fc.subarray([1, 2, 3], { minLength: 1 }).map(list => new Set(list)),
  none: fc.boolean(),
})

const attributes = fc
  .dictionary(fc.constantFrom('segment', 'plan'), someOf('a', 'b'), { maxKeys: 2 })
  .map(each => new Map(Object.entries(each)))

const conditions: fc.Arbitrary<Conditions> = fc.record(
  {
    services: someOf('data', 'voice'),
    ratingGroup: numbers,
    serviceIdentifier: numbers,
    zones: someOf('home', 'eu', 'none'),
    destinations: someOf('de', 'at', 'none'),
    apns: someOf('web', 'web.*', 'w*', 'web.example', 'ims', '*'),
    rats: someOf('nr', 'eutran'),
    when: someOf('day', 'night'),
    account: attributes,
    subscriber: attributes,
  },
  { requiredKeys: [] },
)

const rules = fc.array(conditions, { maxLength: 12 }).map(list =>
  list.map((where, index): Rule => ({
    position: index + 1,
    where,
    effect: { kind: 'free', code: 0 },
    place: 'test:1',
  })),
)

t.test('the index finds the rules that comparing with each finds', t => {
  fc.assert(
    fc.property(
      rules,
      conditions,
      fc.constantFrom(undefined, 'when' as const, 'destinations' as const),
      fc.integer({ min: 1, max: 12 }),
      (list, narrow, aside, before) => {
        const index = new CoverIndex(list, aside)
        const found = list.filter(({ where }) => covers(aside ? without(where, aside) : where, narrow))
        return (
          index.first(narrow) === found[0] &&
          index.first(narrow, before) === found.find(({ position }) => position < before) &&
          isDeepStrictEqual(new Set(index.all(narrow)), new Set(found))
        )
      },
    ),
    { numRuns: 2_000, seed },
  )
  t.end()
})
