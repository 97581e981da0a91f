/** A catalog is published by API: all daemons of the store use it, can go back, and a folder that is older does not win. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import t from 'tap'
import { OcsdProcess, processFolder, startTcpRedis, until, type ProcessFolder } from '../support/ocsd-process.js'

const priced = (folder: ProcessFolder, price: string): string =>
  readFileSync(folder.catalog, 'utf8').replace(/(data-payg: .*) price: '[^']*'/, `$1 price: '${price}'`)

const versionOf = async (ocsd: OcsdProcess): Promise<string> =>
  (await ocsd.api('GET', '/v1/catalog')).body['version'] as string

const uses = (ocsd: OcsdProcess, version: string): Promise<void> =>
  until(`catalog ${version} is in use`, async () => (await versionOf(ocsd)) === version)

const publishBody = (text: string, reason = 'cheaper data'): object => ({
  files: [{ file: 'mvno.yaml', text }],
  reason,
  actor: 'ines',
})

interface Listed {
  readonly number: number
  readonly version: string
  readonly how: string
}

async function listed(ocsd: OcsdProcess): Promise<string[]> {
  const { body } = await ocsd.api('GET', '/v1/catalog/versions')
  return (body['items'] as Listed[]).map(({ number, version, how }) => `${number} ${version} ${how}`)
}

t.test('published at one daemon, used by all, also by one that starts later with its old folder', async t => {
  const { url } = await startTcpRedis(t)
  const folders = ['ocs1', 'ocs2', 'ocs3'].map(name =>
    processFolder(t, {
      diameter: { identity: `${name}.localdomain` },
      store: { kind: 'url', url, durability: 'memory' },
    }),
  ) as [ProcessFolder, ProcessFolder, ProcessFolder]
  const [one, two] = (await Promise.all([folders[0], folders[1]].map(folder => OcsdProcess.start(t, folder)))) as [
    OcsdProcess,
    OcsdProcess,
  ]
  const first = await versionOf(one)
  t.same(await listed(one), [], 'each uses its own folder')

  // A faulty one, and one that somebody else has overtaken, change nothing.
  const wrong = await one.api('POST', '/v1/catalog/publish', publishBody(priced(folders[0], 'dear')))
  t.match(wrong, { status: 422, body: { type: 'urn:ocsd:problem:catalog-refused', faults: [/^mvno\.yaml:\d+:\d+: /] } })
  const failing = priced(folders[0], '0.07').replace(/^tests:/m, 'tests:\n  - { name: wrong, offer: payg, use: { service: data, octets: 1MB }, expect: { cost: \'99.00\' } }') // prettier-ignore
  t.match(await one.api('POST', '/v1/catalog/publish', publishBody(failing)), { status: 422 }, 'its own test fails')
  const stale = { ...publishBody(priced(folders[0], '0.02')), over: 'abcdef012345' }
  t.match(await one.api('POST', '/v1/catalog/publish', stale), {
    status: 412,
    body: { type: 'urn:ocsd:problem:stale', version: first },
  })
  t.match(await one.api('POST', '/v1/catalog/publish', { files: [], reason: 'nothing' }), { status: 400 })
  const outside = { ...publishBody(priced(folders[0], '0.02')), others: [{ file: '../../etc/x.csv', text: 'x' }] }
  t.match(await one.api('POST', '/v1/catalog/publish', outside), {
    status: 422,
    body: { faults: [/not below the folder/] },
  })
  t.same(await listed(two), [], 'nothing was published')
  t.equal(await versionOf(one), first)

  const cheap = priced(folders[0], '0.005')
  const published = await one.api('POST', '/v1/catalog/publish', { ...publishBody(cheap), over: first })
  t.match(published, {
    status: 200,
    body: { status: 'published', publication: { number: 2, actor: 'ines', reason: 'cheaper data', how: 'publish' } },
  })
  t.ok(
    (published.body['differences'] as string[]).some(line => line.includes('data-payg')),
    'says what differs',
  )
  const second = published.body['version'] as string
  await uses(two, second)
  t.same(await listed(two), [`2 ${second} publish`, `1 ${first} before`])
  t.equal(readFileSync(folders[0].catalog, 'utf8'), cheap, 'the folder of the daemon that was asked holds it')
  for (const folder of [folders[0], folders[1]]) {
    const kept = join(folder.data, 'catalog', `000002-${second}`)
    await until('it is kept', () => existsSync(join(kept, 'publication.json')))
    t.match(JSON.parse(readFileSync(join(kept, 'publication.json'), 'utf8')), {
      actor: 'ines',
      reason: 'cheaper data',
      at: /^20/,
    })
    t.equal(readFileSync(join(kept, 'mvno.yaml'), 'utf8'), cheap)
  }
  t.match((await one.api('POST', '/v1/catalog/publish', publishBody(cheap))).body, {
    status: 'unchanged',
    version: second,
  })

  const three = await OcsdProcess.start(t, folders[2])
  t.equal(await versionOf(three), second, 'a daemon with an older folder')
  t.match(
    three.stderr + three.stdout,
    /the catalog's folder differs from what is in use: it holds .* published as number 2 by ines/,
  )
  const still = await three.api('POST', '/v1/catalog/reload')
  t.match(
    still.body,
    { status: 'unchanged', version: second, warnings: [/the folder still holds what it held/] },
    'nor does its reload win',
  )
  t.equal(await versionOf(three), second)

  // Who edits the folder and reloads it publishes it.
  writeFileSync(folders[2].catalog, priced(folders[2], '0.03'))
  const reloaded = await three.api('POST', '/v1/catalog/reload')
  t.match(reloaded.body, { status: 'loaded' })
  const third = reloaded.body['version'] as string
  await Promise.all([uses(one, third), uses(two, third)])

  const shown = await two.api('GET', `/v1/catalog/versions/${second}`)
  t.match(shown, { status: 200, body: { number: 2, actor: 'ines', files: [{ file: 'mvno.yaml', text: cheap }] } })
  t.match(await two.api('GET', '/v1/catalog/versions/0123456789ab'), { status: 404 })
  t.match(await two.api('POST', '/v1/catalog/rollback', { version: '0123456789ab', reason: 'none such' }), {
    status: 404,
  })
  const back = await two.api('POST', '/v1/catalog/rollback', { version: first, reason: 'complaints', actor: 'otto' })
  t.match(back, {
    status: 200,
    body: { status: 'published', version: first, publication: { number: 4, how: 'rollback', actor: 'otto' } },
  })
  await Promise.all([uses(one, first), uses(three, first)])
  t.same(await listed(one), [`4 ${first} rollback`, `3 ${third} reload`, `2 ${second} publish`, `1 ${first} before`])

  // Both at once: one after the other, and the newest is in use everywhere.
  const race = await Promise.all(
    [one, two].map((ocsd, i) =>
      ocsd.api('POST', '/v1/catalog/publish', publishBody(priced(folders[0], `0.0${4 + i}`))),
    ),
  )
  t.same(
    race.map(({ status }) => status),
    [200, 200],
  )
  const [newest] = await listed(one)
  const winner = newest!.split(' ')[1]!
  await Promise.all([one, two, three].map(ocsd => uses(ocsd, winner)))
  t.match(newest, /^6 /)
})

t.test('what a crash left half written is finished before the catalog is read', async t => {
  const folder = processFolder(t)
  const ocsd = await OcsdProcess.start(t, folder)
  const cheap = priced(folder, '0.005')
  const { body } = await ocsd.api('POST', '/v1/catalog/publish', publishBody(cheap))
  await ocsd.kill('SIGKILL')
  const kept = readdirSync(join(folder.data, 'catalog')).find(name => name.startsWith('000002-'))!
  writeFileSync(folder.catalog, 'half of a cata')
  writeFileSync(join(folder.data, 'catalog', 'writing.json'), JSON.stringify({ publication: kept }))
  const again = await OcsdProcess.start(t, folder)
  t.equal(await versionOf(again), body['version'])
  t.equal(readFileSync(folder.catalog, 'utf8'), cheap)
  t.notOk(existsSync(join(folder.data, 'catalog', 'writing.json')))
  t.same(
    readdirSync(dirname(folder.catalog)).filter(name => name.endsWith('.new')),
    [],
    basename(folder.catalog),
  )
})
