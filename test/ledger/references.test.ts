import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { partitionOf } from '../../src/balance/keys.js'
import { References } from '../../src/ledger/references.js'
import { aFolder, anAudit } from '../support/ledger.js'
import { partitions, startStore } from '../support/store.js'

const recharge = (account: string, seq: number, reference: string, channel = 'portal'): object => ({
  ...{ partition: partitionOf(account, partitions), id: `${1000 + seq}-0`, account, seq, kind: 'recharge', channel, reference },
  posts: [['main', 'EUR', 5, 5 * (seq - 1), 5 * seq], [`source:${channel}`, 'EUR', -5]],
}) // prettier-ignore

t.test('the same recharge in two entries is told once, the same entry twice is not', t => {
  const references = new References()
  const check = (account: string, seq: number, reference: string, channel = 'portal'): string | undefined =>
    references.check({ account, seq, kind: 'recharge', channel, reference })
  t.equal(check('alice', 2, 'r1'), undefined)
  t.equal(check('alice', 2, 'r1'), undefined, 'another daemon wrote it, too')
  t.equal(check('alice', 3, 'r1', 'app'), undefined, 'a channel has its own references')
  t.match(check('alice', 4, 'r1'), /entry 4: the recharge portal r1 was credited before/)
  t.equal(check('alice', 4, 'r1'), undefined, 'said once')
  t.match(check('bob', 2, 'r1'), /credited before/)
  t.equal(
    references.check({ account: 'bob', seq: 3, kind: 'adjustment', channel: 'portal', reference: 'r1' }),
    undefined,
  )
  for (let i = 0; i < 100_000; i++) if (check('many', i, `m${i}`) !== undefined) t.fail(`m${i} only looks alike`)
  t.end()
})

t.test('the audit tells a reference that the store forgot and took again', async t => {
  const { store } = await startStore(t)
  const folder = join(aFolder(t), 'ledger')
  mkdirSync(folder)
  const lines = [recharge('alice', 1, 'r1'), recharge('alice', 2, 'r2'), recharge('alice', 3, 'r1')]
  writeFileSync(
    join(folder, 'ledger-20260101T000000000Z-a.jsonl'),
    lines.map(line => `${JSON.stringify(line)}\n`).join(''),
  )
  const { problems } = await anAudit(store, folder)
  const told = problems.filter(({ what }) => what.includes('credited before'))
  t.match(told, [{ account: 'alice', what: /entry 3: the recharge portal r1/, where: /:3$/ }])
  t.equal(told.length, 1)
})
