use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use palinode_messaging::LANES;

use crate::log::{Cursor, Window};
use crate::store::{Round, Taken};
use crate::trust::{Trust, boot_time};

/// The lanes that a worker owns.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    owned: BTreeMap<i16, Lane>,
    reads: u64,
}

/// Reads that a backlog is divided into: one is in the database, one on its way to Kafka, one is
/// being deleted.
const READS_DEEP: usize = 3;

/// Lanes that a small page may leave out at the most: their rows are passed over.
const LEFT_OUT_MAX: usize = 16;

/// A lane as it was when its rows were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) lane: i16,
    pub(crate) epoch: i64,
    pub(crate) trust: Trust,
    pub(crate) careful: bool,
    /// Log mode: where the lane stands.
    pub(crate) cursor: Option<Cursor>,
    /// Log mode: what was read of it.
    pub(crate) window: Option<Window>,
    parked: Arc<HashSet<(i16, Vec<u8>)>>,
    published: Arc<HashSet<i64>>,
}

impl Asked {
    /// Whether the row is in the log already, and only not deleted yet.
    pub(crate) fn is_published(&self, id: i64) -> bool {
        !self.published.is_empty() && self.published.contains(&id)
    }

    /// Whether an earlier record of the topic and key is parked.
    pub(crate) fn is_blocked(&self, topic: i16, key: &[u8]) -> bool {
        // few lanes ever have parked keys: no copy of the key for the others
        !self.parked.is_empty() && self.parked.contains(&(topic, key.to_vec()))
    }
}

/// One lane, under a lease.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) epoch: i64,
    pub(crate) trust: Trust,
    pub(crate) paused: bool,
    pub(crate) verdict_seq: i64,
    /// A page of it is being read, published or settled.
    pub(crate) busy: bool,
    /// Parked records may have got verdicts: nothing is read until they are carried out.
    pub(crate) verdicts: bool,
    /// The last page was refused for one of its records: the next ones hold one record each,
    /// until the culprit is found.
    pub(crate) careful: bool,
    /// The last page was full: there are rows behind it.
    pub(crate) deep: bool,
    /// Log mode: where it stands.
    pub(crate) cursor: Option<Cursor>,
    /// Counts reads: lanes take turns.
    read_at: u64,
    /// Topic and key of records that are parked: later ones are parked behind them.
    parked: Arc<HashSet<(i16, Vec<u8>)>>,
    /// Rows that Kafka has and that are still to be deleted, though the lane is not busy: every read
    /// that began before they were gone passes them over.
    published: Arc<HashSet<i64>>,
    /// Something was parked since the current lease round began.
    parked_in_round: bool,
}

impl Lane {
    fn may_be_read(&self, now: Duration) -> bool {
        !self.busy && !self.paused && self.trust.holds_at(now) && !self.verdicts
    }

    /// Nothing of it is under way.
    fn is_at_rest(&self) -> bool {
        !self.busy && self.published.is_empty()
    }

    /// A record of the topic and key is parked.
    pub(crate) fn block(&mut self, topic: i16, key: Vec<u8>) {
        Arc::make_mut(&mut self.parked).insert((topic, key));
        self.parked_in_round = true;
    }

    /// The row is in the log, and is deleted later than the lane is read again.
    pub(crate) fn publish(&mut self, id: i64) {
        Arc::make_mut(&mut self.published).insert(id);
    }

    /// The row is deleted.
    pub(crate) fn forget(&mut self, id: i64) {
        Arc::make_mut(&mut self.published).remove(&id);
    }

    /// Log mode: it stands there now. A window that is open has more rows.
    pub(crate) fn move_to(&mut self, cursor: Cursor) {
        self.deep = cursor.open.is_some();
        self.cursor = Some(cursor);
    }

    /// What is parked, as the table has it; nothing else of the lane was in flight.
    pub(crate) fn settle_parked(&mut self, parked: HashSet<(i16, Vec<u8>)>) {
        self.parked = Arc::new(parked);
    }
}

/// What a change of leases means for what is in flight.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Loss {
    /// Nothing of a lost lane was in flight.
    Harmless,
    /// Records of a lost lane may be queued: purge them.
    InFlight,
}

impl Lanes {
    pub(crate) fn len(&self) -> usize {
        self.owned.len()
    }

    pub(crate) fn get_mut(&mut self, lane: i16, epoch: i64) -> Option<&mut Lane> {
        let owned = self.owned.get_mut(&lane)?;
        (owned.epoch == epoch).then_some(owned)
    }

    /// Whether a lane may be read that has more rows than its last page held, or one that has not.
    pub(crate) fn has_idle(&self, deep: bool) -> bool {
        let (mut lanes, now) = (self.owned.values(), boot_time());
        lanes.any(|lane| lane.deep == deep && lane.may_be_read(now))
    }

    /// Takes lanes for a read, those that had to wait longest first. They are busy from now on.
    ///
    /// Deep lanes are taken apart from the others, and not all at once: the rows of some are
    /// published while those of others are read. The others are read together, all of them.
    pub(crate) fn take_for_read(&mut self, deep: bool) -> Vec<Asked> {
        let some = self.owned.len().div_ceil(READS_DEEP);
        self.reads += 1;
        let (at, now) = (self.reads, boot_time());
        let mut lanes: Vec<_> = self
            .owned
            .iter_mut()
            .filter(|(_, lane)| lane.deep == deep && lane.may_be_read(now))
            .collect();
        if let Some(careful) = lanes.iter().position(|(_, lane)| lane.careful) {
            // alone: the answer of the broker is its own then
            lanes = vec![lanes.swap_remove(careful)];
        } else if deep {
            lanes.sort_by_key(|(_, lane)| lane.read_at);
            lanes.truncate(some);
        }
        let asked = lanes.into_iter().map(|(number, lane)| {
            lane.busy = true;
            lane.read_at = at;
            Asked {
                lane: *number,
                epoch: lane.epoch,
                trust: lane.trust.clone(),
                careful: lane.careful,
                cursor: lane.cursor.clone(),
                window: None,
                parked: Arc::clone(&lane.parked),
                published: Arc::clone(&lane.published),
            }
        });
        asked.collect()
    }

    /// The lanes besides `asked`, if a look at the table as a whole costs less than one at each
    /// lane: all are owned, and none has many rows.
    pub(crate) fn left_out(&self, asked: &[Asked]) -> Option<Vec<i16>> {
        let is_whole = self.owned.len() == usize::from(LANES)
            && self.owned.len() - asked.len() <= LEFT_OUT_MAX
            && !self.owned.values().any(|lane| lane.deep || lane.paused);
        let is_asked = |number: &i16| asked.iter().any(|asked| asked.lane == *number);
        let others = self.owned.keys().copied();
        is_whole.then(|| others.filter(|number| !is_asked(number)).collect())
    }

    /// A lane whose parked records are to be looked at, with its epoch.
    pub(crate) fn with_verdicts(&self) -> Option<(i16, i64)> {
        let (mut lanes, now) = (self.owned.iter(), boot_time());
        let is_ready = |lane: &Lane| {
            lane.verdicts && lane.is_at_rest() && !lane.paused && lane.trust.holds_at(now)
        };
        let (number, lane) = lanes.find(|(_, lane)| is_ready(lane))?;
        Some((*number, lane.epoch))
    }

    /// Every lane with its epoch and the verdicts that were seen, for a lease round.
    pub(crate) fn begin_round(&mut self) -> Vec<(i16, i64, i64)> {
        self.owned
            .iter_mut()
            .map(|(number, lane)| {
                lane.parked_in_round = false;
                (*number, lane.epoch, lane.verdict_seq)
            })
            .collect()
    }

    /// Takes out lanes above `share`, as far as they are idle, to be given back.
    pub(crate) fn give_up_excess(&mut self, share: usize) -> Vec<(i16, i64)> {
        let excess = self.owned.len().saturating_sub(share);
        let given: Vec<_> = self
            .owned
            .iter()
            .filter(|(_, lane)| lane.is_at_rest())
            .map(|(number, lane)| (*number, lane.epoch))
            .take(excess)
            .collect();
        for (number, _) in &given {
            self.owned.remove(number);
        }
        given
    }

    /// Takes the outcome of a lease round over. `asked`: what was held when it began.
    pub(crate) fn apply(&mut self, asked: &[(i16, i64, i64)], round: Round) -> Loss {
        for renewed in &round.renewed {
            if let Some(lane) = self.owned.get_mut(&renewed.lane) {
                lane.trust.extend(round.renewed_until);
                lane.paused = renewed.paused;
                // a key parked during the round is not in its answer: then wait for the next one
                if lane.verdict_seq != renewed.verdict_seq && !lane.parked_in_round {
                    lane.verdict_seq = renewed.verdict_seq;
                    lane.parked = Arc::default(); // read anew, below
                    lane.verdicts = true;
                }
            }
        }
        let lost: Vec<_> = asked
            .iter()
            .filter(|(number, ..)| !round.renewed.iter().any(|r| r.lane == *number))
            .map(|(number, epoch, _)| (*number, *epoch))
            .collect();
        let loss = self.lose(&lost);
        for Taken {
            lane,
            epoch,
            paused,
            verdict_seq,
        } in round.taken
        {
            let fresh = Lane {
                epoch,
                trust: Trust::until(round.taken_until),
                paused,
                verdict_seq,
                busy: false,
                careful: false,
                verdicts: false,
                deep: false,
                cursor: None,
                read_at: 0,
                parked: Arc::default(),
                published: Arc::default(),
                parked_in_round: false,
            };
            self.owned.insert(lane, fresh);
        }
        for (number, cursor) in round.cursors {
            if let Some(lane) = self.owned.get_mut(&number) {
                lane.move_to(cursor);
            }
        }
        for (number, topic, key) in round.parked {
            if let Some(lane) = self.owned.get_mut(&number) {
                Arc::make_mut(&mut lane.parked).insert((topic, key));
                lane.verdicts = true;
            }
        }
        loss
    }

    /// Drops a lane that somebody else has taken.
    pub(crate) fn drop_lost(&mut self, lane: i16, epoch: i64) {
        let loss = self.lose(&[(lane, epoch)]);
        debug_assert!(matches!(loss, Loss::Harmless | Loss::InFlight));
    }

    /// Drops all of them.
    pub(crate) fn drop_all(&mut self) -> Loss {
        let all = self
            .owned
            .iter()
            .map(|(number, lane)| (*number, lane.epoch));
        let all: Vec<_> = all.collect();
        self.lose(&all)
    }

    /// Drops lanes whose trust is over.
    pub(crate) fn expire(&mut self) -> (usize, Loss) {
        let now = boot_time();
        let expired: Vec<_> = self
            .owned
            .iter()
            .filter(|(_, lane)| !lane.trust.holds_at(now))
            .map(|(number, lane)| (*number, lane.epoch))
            .collect();
        (expired.len(), self.lose(&expired))
    }

    /// How long the shortest trust lasts.
    pub(crate) fn trust_left(&self) -> Option<Duration> {
        let ends = self.owned.values().map(|lane| lane.trust.end_at());
        Some(ends.min()?.saturating_sub(boot_time()))
    }

    fn lose(&mut self, lost: &[(i16, i64)]) -> Loss {
        let mut loss = Loss::Harmless;
        for (number, epoch) in lost {
            if self.get_mut(*number, *epoch).is_none() {
                continue;
            }
            if let Some(lane) = self.owned.remove(number) {
                lane.trust.end();
                if lane.busy {
                    loss = Loss::InFlight;
                }
            }
        }
        loss
    }
}

/// Lanes for each of so many living workers.
pub(crate) fn fair_share(living: usize) -> usize {
    usize::from(LANES).div_ceil(living.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Renewed;
    use crate::trust::boot_time;

    /// The outcome of a round that renewed and took these lanes; taken ones have epoch 1.
    fn round(renewed: &[i16], taken: &[i16]) -> Round {
        let later = boot_time() + Duration::from_secs(60);
        let renew = |lane: &i16| Renewed {
            lane: *lane,
            paused: false,
            verdict_seq: 0,
        };
        let take = |lane: &i16| Taken {
            lane: *lane,
            epoch: 1,
            paused: false,
            verdict_seq: 0,
        };
        Round {
            living: 1,
            renewed: renewed.iter().map(renew).collect(),
            renewed_until: later,
            taken: taken.iter().map(take).collect(),
            taken_until: later,
            parked: Vec::new(),
            cursors: Vec::new(),
        }
    }

    /// The lanes that would be read now.
    fn readable(lanes: &Lanes) -> Vec<i16> {
        let lanes = lanes.owned.iter();
        let lanes = lanes.filter(|(_, lane)| lane.may_be_read(boot_time()));
        lanes.map(|(number, _)| *number).collect()
    }

    fn owning(lanes: &[i16]) -> Lanes {
        let mut owned = Lanes::default();
        assert_eq!(owned.apply(&[], round(&[], lanes)), Loss::Harmless);
        owned
    }

    #[test]
    fn a_lane_that_is_not_renewed_is_lost_and_its_page_with_it() {
        let mut lanes = owning(&[1, 2, 3]);
        lanes.get_mut(2, 1).unwrap().busy = true;
        let page = lanes.get_mut(2, 1).unwrap().trust.clone();
        let asked = lanes.begin_round();
        assert_eq!(lanes.apply(&asked, round(&[2, 3], &[])), Loss::Harmless);
        assert_eq!(readable(&lanes), [3]);
        assert!(page.holds());
        let asked = lanes.begin_round();
        assert_eq!(lanes.apply(&asked, round(&[3], &[])), Loss::InFlight);
        assert!(!page.holds());
        assert_eq!(lanes.len(), 1);
    }

    #[test]
    fn what_is_above_the_share_is_given_back_once_it_is_idle() {
        let mut lanes = owning(&[1, 2, 3, 4]);
        lanes.get_mut(1, 1).unwrap().busy = true;
        assert_eq!(lanes.give_up_excess(1), [(2, 1), (3, 1), (4, 1)]);
        assert_eq!(lanes.give_up_excess(0), []);
        lanes.get_mut(1, 1).unwrap().busy = false;
        assert_eq!(lanes.give_up_excess(0), [(1, 1)]);
    }

    fn is_blocked(lanes: &Lanes, key: &[u8]) -> bool {
        lanes.owned[&1].parked.contains(&(5, key.to_vec()))
    }

    #[test]
    fn deep_lanes_take_turns_and_the_others_are_read_together() {
        let mut lanes = owning(&[1, 2, 3, 4, 5, 6]);
        for number in 1..=5 {
            lanes.get_mut(number, 1).unwrap().deep = true;
        }
        let mut read = |deep| {
            let asked = lanes.take_for_read(deep);
            asked.iter().map(|asked| asked.lane).collect::<Vec<_>>()
        };
        assert_eq!(read(true), [1, 2]);
        assert_eq!(read(false), [6]);
        assert_eq!(read(true), [3, 4]);
        for number in [3, 4, 1] {
            lanes.get_mut(number, 1).unwrap().busy = false;
        }
        let asked = lanes.take_for_read(true);
        assert_eq!(asked.iter().map(|a| a.lane).collect::<Vec<_>>(), [5, 1]);
        assert!(lanes.has_idle(true) && !lanes.has_idle(false));
    }

    #[test]
    fn the_table_is_looked_at_as_a_whole_while_no_lane_has_many_rows() {
        let all: Vec<i16> = (0..64).collect();
        let mut lanes = owning(&all);
        for number in [3, 5] {
            lanes.get_mut(number, 1).unwrap().busy = true;
        }
        let asked = lanes.take_for_read(false);
        assert_eq!(lanes.left_out(&asked), Some(vec![3, 5]));
        lanes.get_mut(5, 1).unwrap().deep = true;
        assert_eq!(lanes.left_out(&asked), None);
        lanes.get_mut(5, 1).unwrap().deep = false;
        assert_eq!(lanes.left_out(&asked[..40]), None);
        lanes.get_mut(5, 1).unwrap().paused = true;
        assert_eq!(lanes.left_out(&asked), None);
        let mut some = owning(&all[..63]);
        let asked = some.take_for_read(false);
        assert_eq!(some.left_out(&asked), None);
    }

    #[test]
    fn a_key_that_is_parked_while_verdicts_are_read_stays_blocked() {
        let mut lanes = owning(&[1]);
        lanes.get_mut(1, 1).unwrap().block(5, b"old".to_vec());
        let verdict = |lanes: &mut Lanes, asked: &[(i16, i64, i64)]| {
            let mut round = round(&[1], &[]);
            round.renewed[0].verdict_seq = 7;
            assert_eq!(lanes.apply(asked, round), Loss::Harmless);
        };
        let asked = lanes.begin_round();
        lanes.get_mut(1, 1).unwrap().block(5, b"new".to_vec());
        verdict(&mut lanes, &asked);
        assert!(is_blocked(&lanes, b"new"));
        // the next round takes the verdict
        let asked = lanes.begin_round();
        assert_eq!(asked, [(1, 1, 0)]);
        verdict(&mut lanes, &asked);
        assert!(!is_blocked(&lanes, b"old"));
    }

    #[test]
    fn shares_are_fair_and_cover_every_lane() {
        for (living, share) in [(0, 64), (1, 64), (2, 32), (3, 22), (64, 1), (100, 1)] {
            assert_eq!(fair_share(living), share, "{living} workers");
        }
    }
}
