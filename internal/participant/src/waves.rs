use std::collections::HashMap;
use std::hash::Hash;

/// Divides a batch into waves that hold each key once at the most.
///
/// Shape: indices into `keys`; each stands in one wave. Within a wave they ascend, and of one key
/// an earlier record stands in an earlier wave. No wave is empty.
pub(crate) fn waves<K: Hash + Eq>(keys: impl IntoIterator<Item = K>) -> Vec<Vec<usize>> {
    let mut seen: HashMap<K, usize> = HashMap::new();
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        let before = seen.entry(key).or_default();
        if *before == waves.len() {
            waves.push(Vec::new());
        }
        waves[*before].push(index);
        *before += 1;
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::waves;

    #[test]
    fn a_wave_holds_each_key_once_and_keeps_the_order() {
        for (keys, expected) in [
            ("", vec![]),
            ("abc", vec![vec![0, 1, 2]]),
            ("aab", vec![vec![0, 2], vec![1]]),
            ("abaab", vec![vec![0, 1], vec![2, 4], vec![3]]),
        ] {
            assert_eq!(waves(keys.chars()), expected, "{keys}");
        }
    }
}
