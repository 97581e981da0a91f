/**
 * The fast decoder against the plain one, on randomly damaged messages: the same values, or the same Result-Code, words
 * and Failed-AVP octets. DAMAGED messages (60,000 when not set) of this SEED.
 */
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { DiameterError } from '../../src/diameter/errors.js'
import { readMessage } from '../../src/diameter/message.js'
import { decodeTree, encodeTree, readTree } from '../../src/diameter/tree.js'
import { damaged, randomOf } from '../support/damage.js'
import { seed } from '../support/seed.js'
import { everythingOf, shapeOfAll } from '../support/shapes.js'
import { dictionary, recordings, validVectors } from '../support/vectors.js'

const limits = { depth: 16, avps: 4096 }

function outcome(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof DiameterError)) throw error
    return { resultCode: error.resultCode, message: error.message, failedAvp: error.failedAvp?.toString('hex') }
  }
}

/** Undefined, or how the two differ. */
function difference(octets: Buffer): string | undefined {
  let command
  try {
    ;({ command } = decodeTree(dictionary, octets))
  } catch {
    command = dictionary.command(octets.readUInt32BE(4) & 0xffffff, octets[4]! >= 0x80)
  }
  if (!command) return undefined
  const fast = outcome(() => ({ ...readMessage(shapeOfAll(command.name), octets, limits) }))
  const plain = outcome(() => {
    const tree = readTree(dictionary, octets, limits)
    return everythingOf(tree.avps, tree.command!.grammar)
  })
  if (same(fast, plain)) return undefined
  return `${octets.toString('hex')}\nfast ${show(fast)}\nplain ${show(plain)}`
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each)).slice(0, 2000)

/** Deep equality without classes. */
const same = (a: unknown, b: unknown): boolean => isDeepStrictEqual(plainOf(a), plainOf(b))
function plainOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainOf)
  if (Buffer.isBuffer(value)) return value.toString('hex')
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plainOf(each)]))
}

const messages = [...validVectors.filter(({ id }) => id !== 'B11' && id !== 'B06'), ...recordings].map(
  each => each.octets,
)

t.test('both decoders read the same from every valid message', t => {
  for (const octets of messages) t.equal(difference(octets), undefined)
  t.end()
})

t.test(`both decoders find the same fault in damaged messages, seed ${seed}`, t => {
  const random = randomOf(seed)
  const codes = dictionary.avps.map(({ code }) => code)
  const differences: string[] = []
  const outcomes = new Map<number, number>()
  for (let round = Number(process.env['DAMAGED'] ?? 60_000); round > 0 && differences.length < 3; round--) {
    const octets = damaged(messages[random(messages.length)]!, random, codes)
    const found = difference(octets)
    if (found !== undefined) differences.push(found)
    const result = outcome(() => readTree(dictionary, octets, limits)) as { resultCode?: number }
    outcomes.set(result.resultCode ?? 2001, (outcomes.get(result.resultCode ?? 2001) ?? 0) + 1)
  }
  t.same(differences, [])
  // The damage is worth its time only when it leads everywhere.
  for (const resultCode of [2001, 5001, 5004, 5005, 5009, 5014])
    t.ok((outcomes.get(resultCode) ?? 0) > 50, `${resultCode}`)
  t.end()
})

t.test('both decoders stop at the same limits', t => {
  const nested = (depth: number): [string, never] => ['Proxy-Info', (depth === 0 ? [] : [nested(depth - 1)]) as never]
  for (const depth of [0, 1, 14, 15, 16, 40]) {
    const octets = encodeTree(dictionary, { command: 'DWR', hopByHop: 1, endToEnd: 1, avps: [nested(depth)] })
    t.equal(difference(octets), undefined, `${depth} groups inside a group`)
    const { resultCode } = outcome(() => readTree(dictionary, octets, limits)) as { resultCode: number }
    t.equal(resultCode, depth < 16 ? 5005 : 5012, `${depth} groups inside a group`)
  }
  const many = encodeTree(dictionary, {
    ...{ command: 'DWR', hopByHop: 1, endToEnd: 1 },
    avps: [['Origin-Host', 'a'], ['Origin-Realm', 'b'], ...Array.from({ length: 4095 }, () => ['Class', 'x'] as const)],
  })
  t.equal(difference(many), undefined)
  t.match(
    outcome(() => readTree(dictionary, many, limits)),
    { resultCode: 5012, message: /too many AVPs/ },
  )
  t.match(readTree(dictionary, many, { ...limits, avps: 4097 }), { header: { commandCode: 280 } })
  t.end()
})
