/** An offer or a bucket that somebody has is not taken out of the catalog under him: a reload says how many hold it. */
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { OcsdProcess, processFolder, until } from '../support/ocsd-process.js'

const offer = (grant: string): string => `
  trial:
    rank: 50
    grants: [{ bucket: ${grant}, amount: 1GB, for: [data], expires: 1h }]
    rules: [{ service: data, use: [${grant}] }]
`

t.test(
  'what accounts hold is missing in the new catalog: refused, named with how many, and the old one stays',
  async t => {
    const folder = processFolder(t)
    const shipped = readFileSync(folder.catalog, 'utf8')
    const withTrial = (grant: string): string => shipped.replace(/^offers:\n/m, `offers:${offer(grant)}`)
    writeFileSync(folder.catalog, withTrial('trial-1gb'))
    const ocsd = await OcsdProcess.start(t, folder)
    const { body: before } = await ocsd.api('GET', '/v1/catalog')
    for (let i = 0; i < 3; i++) {
      const subscriber = { msisdn: `49170555000${i}`, offers: ['trial'] }
      const { status, body } = await ocsd.api('POST', '/v1/accounts', { id: `trial-${i}`, currency: 'EUR', subscriber })
      t.equal(status, 201, JSON.stringify(body))
    }

    writeFileSync(folder.catalog, shipped)
    for (const path of ['/v1/catalog/check', '/v1/catalog/reload']) {
      const refused = await ocsd.api('POST', path)
      t.equal(refused.status, 422, path)
      t.match(
        refused.body,
        { faults: [/^offers\.trial: .* 3 subscriptions have it/, /^bucket trial-1gb: .* 3 of them/] },
        path,
      )
    }
    t.match((await ocsd.api('GET', '/v1/catalog')).body, { version: before['version'] }, 'the old one stays')
    ocsd.signal('SIGHUP')
    await until('the signal was answered', () =>
      ocsd.stderr.includes('offers.trial: the catalog no longer has this offer'),
    )

    writeFileSync(folder.catalog, withTrial('trial-2gb'))
    t.match((await ocsd.api('POST', '/v1/catalog/reload')).body, { faults: [/^bucket trial-1gb: /] }, 'another bucket')
    writeFileSync(folder.catalog, withTrial('trial-1gb').replace('rank: 50', 'rank: 51'))
    t.equal((await ocsd.api('POST', '/v1/catalog/check')).status, 200)
    t.match((await ocsd.api('GET', '/v1/catalog')).body, { version: before['version'] }, 'a check changes nothing')
    t.match((await ocsd.api('POST', '/v1/catalog/reload')).body, { status: 'loaded' })
    t.same((await ocsd.audit()).violations, [])
  },
)
