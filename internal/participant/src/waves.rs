/// Divides a batch into waves that hold each row once at the most.
///
/// Shape: `rows` are numbers below `count`. A wave is indices into them; each stands in one wave.
/// Within a wave they ascend, and of one row an earlier record stands in an earlier wave. No wave
/// is empty.
pub(crate) fn waves(rows: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut seen = vec![0; count];
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let before: &mut usize = &mut seen[*row];
        if *before == waves.len() {
            waves.push(Vec::with_capacity(if *before == 0 { count } else { 0 }));
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
    fn a_wave_holds_each_row_once_and_keeps_the_order() {
        for (keys, expected) in [
            ("", vec![]),
            ("abc", vec![vec![0, 1, 2]]),
            ("aab", vec![vec![0, 2], vec![1]]),
            ("abaab", vec![vec![0, 1], vec![2, 4], vec![3]]),
        ] {
            let rows: Vec<usize> = keys.bytes().map(|key| usize::from(key - b'a')).collect();
            assert_eq!(waves(&rows, 3), expected, "{keys}");
        }
    }
}
