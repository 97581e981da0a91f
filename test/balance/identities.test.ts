/**
 * The index of sessions: entries of ended ones go many at a time, those of sessions that live stay.
 */
import t from 'tap'
import { Identities } from '../../src/balance/identities.js'
import { sessionIndexKey } from '../../src/balance/keys.js'
import { startStore } from '../support/store.js'

const { store, balance, identities } = await startStore(t)
const owner = { account: 'a', number: '1' }
const deadline = (): number => store.deadlineIn(5000)
const entry = (id: string): Promise<string | null> => store.redis.get(sessionIndexKey(id))

void t.test('a session that is opened again right after its end keeps its entry', async t => {
  await identities.openSession('again', owner, deadline())
  identities.closeSession('again')
  await identities.openSession('again', owner, deadline())
  for (let i = 0; i < 64; i++) identities.closeSession(`other-${i}`) // as many as go at once
  t.equal(await entry('again'), 'a 1')
})

void t.test('entries of ended sessions go together, and this daemon still knows the owner', async t => {
  const ids = Array.from({ length: 64 }, (_, i) => `ended-${i}`)
  for (const id of ids) await identities.openSession(id, owner, deadline())
  t.equal(await entry('ended-63'), 'a 1')
  for (const id of ids) identities.closeSession(id)
  t.equal(await entry('ended-0'), null)
  t.equal(await entry('ended-63'), null)
  t.same(await identities.ownerOfSession('ended-0', deadline()), owner)
  t.equal(
    await new Identities(store, balance).ownerOfSession('ended-0', deadline()),
    undefined,
    'another daemon does not',
  )
})

void t.test('after an end by silence the entry stays for its time', async t => {
  await identities.openSession('silent', owner, deadline())
  identities.keepSilentSession('silent', 60_000)
  t.equal(await entry('silent'), 'a 1')
  t.ok((await store.redis.pttl(sessionIndexKey('silent'))) > 0)
})
