//! The choice of a candidate for each of many items, so that costs are least for the bytes of all.
//!
//! With a price for a byte, every item chooses by itself what makes cost + price * bytes least (Shoham and Gersho, "Efficient
//! bit allocation for an arbitrary set of quantizers", 1988, section III). The price is the least at which all fit. What is
//! left of the bytes goes to single items, first where it saves most for a byte.

/// A candidate of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Bytes that it takes.
    pub bytes: u64,
    /// What it costs, in a unit that adds up over items.
    pub cost: f64,
}

/// Halvings of the range of prices: enough that no float lies between.
const HALVINGS: usize = 200;

/// Chooses an offer of every item, by its index, so that all take at most `bytes` and cost little. `None` if even the
/// smallest take more.
///
/// # Panics
/// If an item has no offers.
pub fn allocate(items: &[Vec<Offer>], bytes: u64) -> Option<Vec<usize>> {
    let taken = |chosen: &[usize]| -> u64 { items.iter().zip(chosen).map(|(item, &i)| item[i].bytes).sum() };
    let at_price = |price: f64| -> Vec<usize> {
        let best = |item: &Vec<Offer>| {
            let of = |o: &Offer| o.cost + price * o.bytes as f64;
            let order = |a: &Offer, b: &Offer| of(a).total_cmp(&of(b)).then(a.bytes.cmp(&b.bytes));
            (0..item.len()).min_by(|&a, &b| order(&item[a], &item[b])).expect("an offer")
        };
        items.iter().map(best).collect()
    };
    let smallest = |item: &Vec<Offer>| {
        (0..item.len()).min_by_key(|&i| (item[i].bytes, ordered(item[i].cost))).expect("an offer")
    };
    let mut chosen: Vec<usize> = items.iter().map(smallest).collect();
    if taken(&chosen) > bytes {
        return None;
    }
    let (mut low, mut high) = (0.0f64, items.iter().flatten().map(|o| o.cost).sum::<f64>().max(1.0));
    if taken(&at_price(0.0)) <= bytes {
        return Some(at_price(0.0));
    }
    for _ in 0..HALVINGS {
        let middle = if low == 0.0 { high * 1e-3 } else { (low * high).sqrt() };
        let found = at_price(middle);
        if taken(&found) <= bytes {
            high = middle;
            chosen = found;
        } else {
            low = middle;
        }
        if middle < f64::MIN_POSITIVE {
            break;
        }
    }
    spend(items, bytes - taken(&chosen), &mut chosen);
    Some(chosen)
}

/// Takes better offers, the most saved for a byte first, as long as there are bytes left for one.
fn spend(items: &[Vec<Offer>], mut left: u64, chosen: &mut [usize]) {
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for (at, item) in items.iter().enumerate() {
            let now = item[chosen[at]];
            for (i, offer) in item.iter().enumerate() {
                let more = offer.bytes.saturating_sub(now.bytes);
                if offer.cost >= now.cost || more > left {
                    continue;
                }
                let saved = (now.cost - offer.cost) / more.max(1) as f64;
                if best.is_none_or(|(most, ..)| saved > most) {
                    best = Some((saved, at, i));
                }
            }
        }
        let Some((_, at, i)) = best else { return };
        left = left + items[at][chosen[at]].bytes - items[at][i].bytes;
        chosen[at] = i;
    }
}

/// A key that orders floats.
fn ordered(cost: f64) -> i64 {
    let bits = cost.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *seed >> 33
    }

    /// Items of three to five offers, whose costs fall about as errors do with bits.
    fn items(seed: &mut u64, n: usize) -> Vec<Vec<Offer>> {
        let item = |seed: &mut u64| {
            let (size, weight) = (10 + random(seed) % 90, 1 + random(seed) % 1000);
            let offer = |bits: u64, seed: &mut u64| Offer {
                bytes: size * bits,
                cost: weight as f64 * 0.25f64.powi(bits as i32) * (1.0 + (random(seed) % 100) as f64 / 300.0),
            };
            (2..5 + random(seed) % 3).map(|bits| offer(bits, seed)).collect()
        };
        (0..n).map(|_| item(seed)).collect()
    }

    fn sums(items: &[Vec<Offer>], chosen: &[usize]) -> (u64, f64) {
        let offers = || items.iter().zip(chosen).map(|(item, &i)| item[i]);
        (offers().map(|o| o.bytes).sum(), offers().map(|o| o.cost).sum())
    }

    /// The least cost, by trying all.
    fn least(items: &[Vec<Offer>], bytes: u64) -> f64 {
        let Some((first, rest)) = items.split_first() else { return 0.0 };
        let fitting = first.iter().filter(|o| o.bytes <= bytes);
        fitting.map(|o| o.cost + least(rest, bytes - o.bytes)).fold(f64::INFINITY, f64::min)
    }

    /// The cost above the least of all, for seven items: 0 to 12 % seen, 1 % on average.
    #[test]
    fn costs_are_near_the_least() {
        let mut seed = 1;
        let mut ratios = Vec::new();
        for _ in 0..60 {
            let items = items(&mut seed, 7);
            let smallest: u64 = items.iter().map(|item| item[0].bytes).sum();
            let bytes = smallest + smallest * (random(&mut seed) % 100) / 100;
            let (taken, cost) = sums(&items, &allocate(&items, bytes).expect("the smallest fit"));
            assert!(taken <= bytes);
            ratios.push(cost / least(&items, bytes));
        }
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let most = ratios.iter().copied().fold(0.0, f64::max);
        assert!(mean < 1.04 && most < 1.3, "{mean} {most}");
    }

    /// With many items little of the bytes stays.
    #[test]
    fn bytes_are_spent() {
        let mut seed = 2;
        let items = items(&mut seed, 200);
        let smallest: u64 = items.iter().map(|item| item[0].bytes).sum();
        for percent in [0, 1, 10, 30, 60] {
            let bytes = smallest + smallest * percent / 100;
            let (taken, _) = sums(&items, &allocate(&items, bytes).expect("the smallest fit"));
            assert!(
                taken <= bytes && taken as f64 >= 0.998 * bytes as f64,
                "{percent} %: {taken} of {bytes}"
            );
        }
        assert_eq!(allocate(&items, smallest - 1), None);
    }

    #[test]
    fn what_costs_nothing_is_taken_in_few_bytes() {
        let offers = [(30, 0.0), (10, 0.0), (20, 0.0)].map(|(bytes, cost)| Offer { bytes, cost });
        assert_eq!(allocate(&[offers.to_vec()], 100), Some(vec![1]));
    }
}
