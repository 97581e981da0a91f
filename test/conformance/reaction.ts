/** What the reference says should come of a malformed vector, compared with the answer that came. */
import type { Test } from 'tap'
import { FLAG } from '../../src/diameter/header.js'
import type { RawClient, Received } from '../support/raw-client.js'
import { malformedVectors, type MalformedVector } from '../support/vectors.js'
import { rawAvps, type RawAvp } from './octets.js'

/** Sends a malformed vector over a connection and checks its answer: code, E bit, Failed-AVP; and that the connection lives. */
export async function isAnsweredAsSaid(t: Test, client: RawClient, id: string): Promise<Received> {
  const found = malformedVectors.find(each => each.id === id)
  if (!found) throw new Error(`no vector ${id}`)
  const { octets, title } = found
  const answer = await client.ask(octets)
  compare(t, answer, found)
  t.ok(await client.nothingElse(), `${id}, ${title}: one answer, and the connection lives`)
  return answer
}

/** The same for an answer that is there already. */
export function compare(t: Test, answer: Received, { id, title, expected_reaction: reaction }: MalformedVector): void {
  const resultCode = answer.value('Result-Code') as number
  const isError = (answer.header.flags & FLAG.ERROR) !== 0
  if (reaction.action === 'process') {
    t.equal(resultCode, 2001, `${id}, ${title}: processed`)
    t.equal(isError, false)
    return
  }
  if (reaction.action !== 'answer') throw new Error(`${id} is not to be answered`)
  t.ok([reaction.result_code].flat().includes(resultCode), `${id}, ${title}: ${resultCode}`)
  if (reaction.e_bit !== 'either') t.equal(isError, reaction.e_bit, `${id}: E bit`)
  const failed = failedAvps(answer)
  for (const { code, vendor_id: vendorId = 0, data } of reaction.failed_avp ?? []) {
    const named = failed.filter(avp => avp.code === code && avp.vendorId === vendorId)
    t.ok(named.length > 0, `${id}: Failed-AVP has ${code}`)
    if (data !== undefined)
      t.ok(
        named.some(avp => avp.data.toString('hex') === data),
        `${id}: with the data ${data}, not ${named.map(avp => avp.data.toString('hex')).join()}`,
      )
  }
}

/** What is inside Failed-AVP, and inside the groups in there. A partial AVP header counts as an AVP without data. */
export function failedAvps(answer: Received): RawAvp[] {
  const inside = (body: Buffer): RawAvp[] => {
    let avps: RawAvp[]
    try {
      avps = rawAvps(body)
    } catch {
      return [{ code: body.readUInt32BE(0), flags: 0, vendorId: 0, data: Buffer.alloc(0), octets: body }]
    }
    return avps.flatMap(avp => (groups.has(avp.code) && avp.data.length > 0 ? [avp, ...inside(avp.data)] : [avp]))
  }
  return rawAvps(answer.octets.subarray(20))
    .filter(({ code }) => code === 279)
    .flatMap(({ data }) => inside(data))
}

/** Subscription-Id, Used-Service-Unit, Multiple-Services-Credit-Control, and Vendor-Specific-Application-Id. */
const groups: ReadonlySet<number> = new Set([443, 446, 456, 260])
