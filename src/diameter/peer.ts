/**
 * The peer state machine, RFC 6733 section 5.6: the responder's rows, as data. No I/O; connection.ts performs the actions.
 * ocsd never dials, so the initiator's rows and the election are not here.
 */

export type PeerStateName = 'Closed' | 'Wait-Probe' | 'R-Open' | 'Closing'

export type PeerEvent =
  | 'R-Conn-CER' // a CER that passed every check of capabilities.ts
  | 'R-Conn-CER-Bad' // a CER that did not
  | 'R-Conn-CER-Twice' // a good CER whose Origin-Host has an open connection, and we are to see whether that one lives
  | 'R-Rcv-CER' // a CER on a connection that is open
  | 'R-Rcv-DWR'
  | 'R-Rcv-DWA'
  | 'R-Rcv-DPR'
  | 'R-Rcv-Bad' // a DWR or DPR with something wrong in it: a Disconnect-Cause nobody knows, say
  | 'R-Rcv-DPA' // to our DPR; one that nobody asked for is dropped before
  | 'R-Rcv-Message'
  | 'R-Peer-Disc'
  | 'Probe-Answered' // Wait-Probe: the older connection lives
  | 'Probe-Failed' // Wait-Probe: the older connection is dead
  | 'Stop'
  | 'Timeout'

export type PeerAction =
  | 'send-CEA'
  | 'send-CEA-and-close' // the refusal
  | 'send-CEA-again' // 5012 to a second CER; nothing changes
  | 'probe-other'
  | 'send-DWA'
  | 'note-DWA'
  | 'send-DPR'
  | 'send-DPA'
  | 'send-error'
  | 'process'
  | 'close' // what is written goes out, and what is in work is answered first
  | 'disconnect' // at once
  | 'ignore'

export type Row = readonly [next: PeerStateName, action: PeerAction]

// prettier-ignore
export const transitions: Readonly<Record<PeerStateName, Readonly<Partial<Record<PeerEvent, Row>>>>> = {
  //                event                next state    action
  'Closed':     { 'R-Conn-CER':         ['R-Open',     'send-CEA'],
                  'R-Conn-CER-Bad':     ['Closing',    'send-CEA-and-close'],
                  'R-Conn-CER-Twice':   ['Wait-Probe', 'probe-other'],
                  'Stop':               ['Closed',     'disconnect'],
                  'Timeout':            ['Closed',     'disconnect'],
                  'R-Peer-Disc':        ['Closed',     'disconnect'] },
  // Ours: RFC 6733 rejects the second connection of a peer at once; `duplicatePeer: replace` first asks whether the first one lives.
  'Wait-Probe': { 'Probe-Answered':     ['Closing',    'send-CEA-and-close'],
                  'Probe-Failed':       ['R-Open',     'send-CEA'],
                  'Stop':               ['Closed',     'disconnect'],
                  'Timeout':            ['Closed',     'disconnect'],
                  'R-Peer-Disc':        ['Closed',     'disconnect'] },
  'R-Open':     { 'R-Rcv-Message':      ['R-Open',     'process'],
                  'R-Rcv-DWR':          ['R-Open',     'send-DWA'],
                  'R-Rcv-DWA':          ['R-Open',     'note-DWA'],
                  'R-Rcv-CER':          ['R-Open',     'send-CEA-again'],
                  'R-Rcv-DPR':          ['Closing',    'send-DPA'],
                  'R-Rcv-Bad':          ['R-Open',     'send-error'],
                  'Stop':               ['Closing',    'send-DPR'],
                  'Timeout':            ['Closed',     'disconnect'], // the watchdog's
                  'R-Peer-Disc':        ['Closed',     'disconnect'] },
  // Ours: a request that crossed our DPR on its way is answered, and so is a peer that probes while we drain.
  'Closing':    { 'R-Rcv-Message':      ['Closing',    'process'],
                  'R-Rcv-DWR':          ['Closing',    'send-DWA'],
                  'R-Rcv-DWA':          ['Closing',    'note-DWA'],
                  'R-Rcv-DPR':          ['Closing',    'send-DPA'], // both sides say good-bye at once
                  'R-Rcv-Bad':          ['Closing',    'send-error'],
                  'R-Rcv-DPA':          ['Closing',    'close'],
                  'R-Rcv-CER':          ['Closing',    'ignore'],
                  'Stop':               ['Closing',    'ignore'],
                  'Timeout':            ['Closing',    'close'],
                  'R-Peer-Disc':        ['Closed',     'disconnect'] },
}

/** What to do about an event. An event without a row (a message before the CER, say) ends the connection. */
export const step = (state: PeerStateName, event: PeerEvent): Row => transitions[state][event] ?? unexpected

const unexpected: Row = ['Closed', 'disconnect']
