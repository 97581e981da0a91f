import t from 'tap'
import { step, transitions } from '../../src/diameter/peer.js'
import type { PeerEvent, PeerStateName } from '../../src/diameter/peer.js'
import { drawTw, Watchdog } from '../../src/diameter/watchdog.js'

/** Plays events: w = Tw is over, d = DWA, m = another message; gives state and actions after each. */
function play(watchdog: Watchdog, events: string): string[] {
  return Array.from(events, event => {
    const actions = event === 'w' ? watchdog.timer() : event === 'd' ? watchdog.dwa() : watchdog.message()
    return [watchdog.state, ...actions].join(' ')
  })
}

t.test('RFC 3539 section 3.4.1, row by row', t => {
  const okay: [string, string, string[]][] = [
    ['a quiet peer is asked, and answers', 'wdwd', ['OKAY send-DWR', 'OKAY', 'OKAY send-DWR', 'OKAY']],
    [
      'BASE-112, 113: no DWA: SUSPECT after one Tw, closed after two, one DWR',
      'www',
      ['OKAY send-DWR', 'SUSPECT failover', 'DOWN close'],
    ],
    ['a DWA ends SUSPECT', 'wwd', ['OKAY send-DWR', 'SUSPECT failover', 'OKAY failback']],
    [
      'any message ends SUSPECT, the DWR stays pending',
      'wwmw',
      ['OKAY send-DWR', 'SUSPECT failover', 'OKAY failback', 'SUSPECT failover'],
    ],
    [
      'after DOWN nothing is done',
      'wwwwdm',
      ['OKAY send-DWR', 'SUSPECT failover', 'DOWN close', 'DOWN', 'DOWN', 'DOWN'],
    ],
  ]
  for (const [name, events, expected] of okay) t.same(play(Watchdog.connectionUp(false), events), expected, name)
  const reopen: [string, string, string[]][] = [
    ['BASE-114: three round trips make it good', 'ddd', ['REOPEN send-DWR', 'REOPEN send-DWR', 'OKAY failback']],
    ['messages do not', 'mmmm', ['REOPEN', 'REOPEN', 'REOPEN', 'REOPEN']],
    ['without DWA it is closed after two Tw', 'ww', ['REOPEN', 'DOWN close']],
    [
      'a late DWA starts the count anew',
      'wdddd',
      ['REOPEN', 'REOPEN send-DWR', 'REOPEN send-DWR', 'REOPEN send-DWR', 'OKAY failback'],
    ],
  ]
  for (const [name, events, expected] of reopen) t.same(play(Watchdog.connectionUp(true), events), expected, name)
  t.end()
})

t.test('BASE-110: Tw is Twinit and up to two seconds either way, drawn anew each time, Twinit at least 6 s', t => {
  const draws = Array.from({ length: 1000 }, () => drawTw(30_000, Math.random))
  t.ok(draws.every(tw => tw >= 28_000 && tw <= 32_000))
  t.ok(Math.max(...draws) - Math.min(...draws) > 3_000)
  t.equal(
    drawTw(1_000, () => 0.5),
    6_000,
  )
  t.end()
})

t.test('the peer table of RFC 6733 section 5.6: an event without a row ends the connection', t => {
  const cases: [PeerStateName, PeerEvent, string][] = [
    ['Closed', 'R-Conn-CER', 'R-Open send-CEA'],
    ['Closed', 'Rcv-DWR', 'Closed disconnect'],
    ['Closed', 'Rcv-Message', 'Closed disconnect'],
    ['Wait-Probe', 'Rcv-Message', 'Closed disconnect'],
    ['Wait-Probe', 'Rcv-CER', 'Closed disconnect'],
    ['R-Open', 'Rcv-CER', 'R-Open send-CEA-again'],
    ['R-Open', 'Rcv-DPR', 'Closing send-DPA'],
    ['R-Open', 'Stop', 'Closing send-DPR'],
    ['Closing', 'Rcv-DPA', 'Closing close'],
    ['Closing', 'Rcv-Message', 'Closing process'],
  ]
  for (const [state, event, expected] of cases) t.equal(step(state, event).join(' '), expected, `${state} ${event}`)
  for (const state of Object.keys(transitions) as PeerStateName[]) {
    t.equal(step(state, 'Peer-Disc').join(' '), 'Closed disconnect', `${state}: the transport is gone`)
    t.ok(transitions[state].Timeout, `${state} has an end in time`)
    t.ok(transitions[state].Stop, `${state} can be stopped`)
  }
  t.end()
})
