/** The peers of a first copy, the one that targets are named after first. */

import { isInstalled } from '../programs.js'
import { diskAlone } from './disk-alone.js'
import { borg, cp, rclone, restic } from './programs.js'
import { rsync } from './rsync-daemon.js'
import { tarOverTcp } from './tar-over-tcp.js'
import type { Peer } from './peer.js'

const PEERS: readonly Peer[] = [rsync, diskAlone, cp, tarOverTcp, rclone, borg, restic]

const isHere = ({ programs }: Peer): boolean => programs.every(isInstalled)

export const installedPeers = (): Peer[] => PEERS.filter(isHere)

export const missingPeers = (): Peer[] => PEERS.filter(peer => !isHere(peer))
