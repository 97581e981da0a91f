/**
 * The daemons of one store hear each other, also after the connection was cut, and nobody hears himself.
 */
import { pino } from 'pino'
import t from 'tap'
import { Nodes } from '../../src/balance/nodes.js'
import { systemClock } from '../../src/clock.js'
import { until } from '../support/ocsd-process.js'
import { startRedis } from '../support/redis.js'
import { openStore, partitions } from '../support/store.js'

const redis = await startRedis(t)
const store = await openStore(t, redis)
const log = pino({ level: 'silent' })

function aNode(id: string): { nodes: Nodes; heard: unknown[] } {
  const config = { kind: 'embedded' as const, durability: 'memory' as const, partitions }
  const nodes = new Nodes({ config, address: { socket: redis.socket }, store, id, clock: systemClock, log })
  const heard: unknown[] = []
  nodes.listen((message, from) => heard.push([from, message]))
  nodes.start()
  t.teardown(() => nodes.stop())
  return { nodes, heard }
}

const [one, two] = [aNode('one'), aNode('two')]
const listening = async (count: number): Promise<boolean> =>
  Number((await store.redis.pubsub('NUMSUB', 'ocs:nodes'))[1]) === count

t.test('what one says the others hear', async t => {
  await until('both hear', () => listening(2))
  t.equal(await one.nodes.tell({ say: 'good morning' }), true)
  await until('it is heard', () => two.heard.length > 0)
  t.same(two.heard, [['one', { say: 'good morning' }]])
  t.same(one.heard, [], 'but not the one who said it')
})

t.test('what is no message of ours is passed over', async t => {
  two.heard.length = 0
  for (const text of ['', '{', 'null', '1', '[]', '{}', '{"from":1,"message":{}}'])
    await store.redis.publish('ocs:nodes', text)
  await one.nodes.tell({ say: 'last' })
  await until('it is heard', () => two.heard.length > 0)
  t.same(two.heard, [['one', { say: 'last' }]])
})

t.test('a connection that is cut is made again, and hears', async t => {
  two.heard.length = 0
  await store.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until('both hear again', () => listening(2))
  await one.nodes.tell({ say: 'again' })
  await until('it is heard', () => two.heard.length > 0)
  t.same(two.heard, [['one', { say: 'again' }]])
})

t.test('without a store nothing is said, and nobody falls over', async t => {
  const gone = await openStore(t, redis)
  await gone.close()
  const config = { kind: 'embedded' as const, durability: 'memory' as const, partitions }
  const nodes = new Nodes({ config, address: { socket: '/nowhere' }, store: gone, id: 'x', clock: systemClock, log })
  nodes.start()
  t.equal(await nodes.tell({ say: 'hello' }), false)
  nodes.stop()
})
