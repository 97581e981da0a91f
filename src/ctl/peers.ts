/** `ocsctl peers`, `peers show` and `peers close`: the Diameter peers of the daemon that is asked. */
import type { Command } from 'commander'
import type { ByClassView, PeersView, PeerView, RefusalView } from '../admin/peers.js'
import type { Ctl, Options } from './command.js'
import { pairs, table } from './text.js'

export function addPeerCommands(program: Command, ctl: Ctl): void {
  const { command, call, put, usage, actor } = ctl
  const peers = command(program, 'peers', 'The peer table: who is connected, since when, how it goes; who is not.')
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `
Of the daemon that is asked; another one on the same store has connections of its own. Counts are since its start.`,
    )
    .action(async (options: Options) => {
      const view = await call<PeersView>(options, 'GET', '/v1/peers')
      put(options, view, () => peersText(view))
    })
  command(peers, 'show <origin-host>', 'All that is known of one peer.').action(
    async (host: string, options: Options) => {
      const peer = await call<PeerView>(options, 'GET', pathOf(host))
      put(options, peer, () => peerText(peer))
    },
  )
  command(peers, 'close <origin-host>', 'Say good-bye to a peer (DPR). It may connect again.')
    .option('--yes', 'do it')
    .action(async (host: string, options: Options & { readonly yes?: boolean }) => {
      if (!options.yes) {
        const peer = await call<PeerView>(options, 'GET', pathOf(host))
        if (!peer.connected) throw usage(`${peer.originHost} has no connection to this daemon`)
        throw usage(
          `${peer.originHost} is connected since ${peer.since} from ${peer.address}, with ${peer.inFlight} requests in work. ` +
            'They are answered first, then it is told DPR. Say --yes to do it',
        )
      }
      const peer = await call<PeerView>(options, 'POST', `${pathOf(host)}/close`, { actor })
      put(options, peer, () => `${peer.originHost} is told good-bye (DPR); it may connect again`)
    })
  command(peers, 'call <origin-host>', 'Call a peer now whose row says where to.').action(
    async (host: string, options: Options) => {
      const peer = await call<PeerView>(options, 'POST', `${pathOf(host)}/call`, { actor })
      put(options, peer, () =>
        peer.connected
          ? `${peer.originHost} is connected already`
          : `${peer.originHost} is called at ${peer.called?.at ?? ''}; ocsctl peers show tells what came of it`,
      )
    },
  )
}

const pathOf = (host: string): string => `/v1/peers/${encodeURIComponent(host)}`

function peersText({ rows, peers, refused }: PeersView): string {
  const empty = rows.filter(({ name }) => !peers.some(peer => peer.name === name))
  const head = ['row', 'Origin-Host', 'state', 'since', 'from', 'carried', 'product', 'applications', 'watchdog']
  const counts = ['asked', 'answered 2xxx/3xxx/4xxx/5xxx', 'we asked', 'in work', 'state id', 'last error']
  const lines = [
    ...peers.map(peerRow),
    ...empty.map(({ name, identity }) => [
      ...[name, identity, 'none', '', '', '', '', '', ''],
      ...['', '', '', '', '', ''],
    ]),
  ]
  const parts = [lines.length === 0 ? 'the peer table is empty' : table([...head, ...counts], lines)]
  if (refused.length > 0) {
    parts.push(
      'Refused, and in no row by name:',
      table(
        ['Origin-Host', 'from', 'when', 'code', 'why'],
        refused.map(each => [each.originHost ?? '?', each.address, each.at, String(each.resultCode), each.message]),
      ),
    )
  }
  return parts.join('\n\n')
}

function peerRow(peer: PeerView): string[] {
  const { counts } = peer
  return [
    ...[peer.name, peer.originHost, peer.connected ? peer.state! : 'not connected'],
    peer.since ?? (peer.lastEnd ? `${peer.lastEnd.at} (${words(peer.lastEnd.reason)})` : 'never'),
    peer.address === undefined ? (peer.called ? `calls ${peer.called.at}` : '') : endpoint(peer.address, peer.port!),
    peer.connected ? `${peer.transport}, ${peer.direction}` : '',
    peer.productName ?? '',
    (peer.applications ?? []).map(applicationName).join(' '),
    peer.watchdog ?? '',
    ...(counts ? [String(counts.requestsIn), classes(counts.answersOut), String(counts.requestsOut)] : ['', '', '']),
    ...[peer.inFlight === undefined ? '' : String(peer.inFlight), idText(peer.originStateId), troubleOf(peer)],
  ]
}

/** Of a peer without a connection, why it has none, when that is known. */
function troubleOf({ connected, lastError, lastRefusal, called }: PeerView): string {
  if (!connected && called?.lastFailure !== undefined) return `the last call failed: ${called.lastFailure}`
  if (!connected && lastRefusal && !(lastError && lastError.at > lastRefusal.at)) return refusalText(lastRefusal)
  return lastError ? errorText(lastError) : 'none'
}

function peerText(peer: PeerView): string {
  const { counts, called, lastError, lastEnd, lastRefusal } = peer
  const connection: Record<string, string> = peer.connected
    ? {
        since: peer.since!,
        'Origin-Realm': peer.originRealm!,
        'Product-Name': peer.productName!,
        from: endpoint(peer.address!, peer.port!),
        carried: `${peer.transport}, ${peer.direction}${peer.relay ? ', a relay' : ''}`,
        applications: peer.applications!.map(applicationName).join(' '),
        watchdog: peer.watchdog!,
        'Origin-State-Id': idText(peer.originStateId),
        'in work': String(peer.inFlight),
        'not yet read': `${peer.outputOctets} octets`,
      }
    : {}
  return pairs({
    'Origin-Host': peer.originHost,
    row: peer.name,
    state: peer.connected ? peer.state! : 'not connected',
    ...connection,
    ...(counts && {
      connections: `${counts.connections} since the daemon started`,
      'asked us': `${counts.requestsIn}, answered ${byClass(counts.answersOut)}`,
      'we asked': `${counts.requestsOut}, answered ${byClass(counts.answersIn)}`,
    }),
    ...(called && {
      'called at': called.at,
      'next call': called.next ?? 'none',
      'last call': called.lastFailure === undefined ? 'did not fail' : `failed: ${called.lastFailure}`,
    }),
    'last error': lastError ? errorText(lastError) : 'none',
    'last end': lastEnd ? `${lastEnd.at}: ${words(lastEnd.reason)}` : 'none',
    'last refusal': lastRefusal ? refusalText(lastRefusal) : 'none',
  })
}

const errorText = ({ at, direction, resultCode, message }: NonNullable<PeerView['lastError']>): string =>
  `${at} ${direction === 'out' ? 'we answered' : 'it answered'} ${resultCode}${message === undefined ? '' : `: ${message}`}`

const refusalText = ({ at, resultCode, message, address }: RefusalView): string =>
  `${at} refused ${resultCode} from ${address}: ${message}`

const classes = (counts: ByClassView): string =>
  [counts['2xxx'], counts['3xxx'], counts['4xxx'], counts['5xxx']].join('/')

function byClass(counts: ByClassView): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0)
  return some.length === 0 ? 'none' : some.map(([group, count]) => `${count} x ${group}`).join(', ')
}

const endpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

const idText = (id: number | undefined): string => (id === undefined ? 'none' : String(id))

const words = (reason: string): string => reason.replaceAll('_', ' ')

const applicationName = (id: number): string =>
  id === 4 ? 'Gy/Ro' : id === 16777302 ? 'Sy' : id === 0xffffffff ? 'relay' : String(id)
