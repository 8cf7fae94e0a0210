/** A real server's own history, with steps that nobody saw and daemons that were killed. */

import { timelineTests } from '../support/follow-timeline.js'

timelineTests([
  { title: 'three at a time', engine: 'sqlite', stride: 3, kill: false },
  { title: 'a daemon killed at each', engine: 'sqlite', stride: 1, kill: true },
])
