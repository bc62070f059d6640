//! Divergence over size, as a table and as a picture for pages that are light or dark.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels of the picture.
const SIZE: (u32, u32) = (900, 560);

const OURS: RGBColor = RGBColor(0, 90, 170);
const OTHERS: RGBColor = RGBColor(200, 80, 0);

/// What the colours of the picture become on dark pages: rules of a style sheet are stronger than attributes.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) {\
    [fill=\"#FFFFFF\"] { fill: #0d1117 } [stroke=\"#FFFFFF\"] { stroke: #0d1117 } \
    [fill=\"#000000\"] { fill: #e6edf3 } [stroke=\"#000000\"] { stroke: #e6edf3 } \
    [fill=\"#005AAA\"] { fill: #6cb6ff } [stroke=\"#005AAA\"] { stroke: #6cb6ff } \
    [fill=\"#C85000\"] { fill: #f0883e } [stroke=\"#C85000\"] { stroke: #f0883e } }</style>";

/// A file, or what one would be.
#[derive(Clone, Debug)]
pub struct Point {
    /// What stands beside it.
    pub name: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Weights in it.
    pub weights: u64,
    /// Mean KL divergence in nats.
    pub divergence: f64,
    /// Its standard error, if it was measured.
    pub error: Option<f64>,
}

impl Point {
    /// Bits for each weight, the whole file counted.
    pub fn bits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.weights.max(1) as f64
    }
}

/// Files of one model: a line of ours, and others beside them.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What the line is called.
    pub name: String,
    /// Whether each point of the line is a file that has its name beside it.
    pub named: bool,
    /// The points of the line.
    pub ours: Vec<Point>,
    /// Other files.
    pub others: Vec<Point>,
}

impl Curve {
    /// A line for each point, under a header.
    pub fn csv(&self) -> String {
        let mut text = String::from("file,bytes,bpw,times_smaller_than_fp32,kld,kld_error\n");
        for point in self.ours.iter().chain(&self.others) {
            let error = point.error.map_or(String::new(), |e| format!("{e:.6}"));
            let (bits, name) = (point.bits(), point.name.replace([',', '"'], " "));
            text += &format!(
                "{name},{},{bits:.4},{:.4},{:.6},{error}\n",
                point.bytes,
                32.0 / bits,
                point.divergence
            );
        }
        text
    }

    /// A picture with the size on a linear axis and the divergence on a logarithmic one.
    pub fn svg(&self) -> String {
        let mut text = String::new();
        let drawn = self.draw(SVGBackend::with_string(&mut text, SIZE));
        drawn.unwrap_or_else(|e| unreachable!("a string takes all: {e}"));
        let label = "role=\"img\" aria-label=\"mean KL divergence over bits per weight\"";
        let text = text.replacen("<svg ", &format!("<svg {label} "), 1);
        match text.split_once(">\n") {
            Some((start, rest)) => format!("{start}>\n{DARK}\n{rest}"),
            None => text,
        }
    }

    fn draw(&self, backend: SVGBackend) -> Result<(), Box<dyn std::error::Error>> {
        let all = || self.ours.iter().chain(&self.others);
        let least = |of: fn(&Point) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&Point) -> f64| all().map(of).fold(0.0, f64::max);
        let bits = Point::bits as fn(&Point) -> f64;
        let high = |p: &Point| p.divergence + p.error.unwrap_or(0.0);
        // A logarithmic axis has no place for what is below zero.
        let low = |p: &Point| (p.divergence - p.error.unwrap_or(0.0)).max(p.divergence / 10.0);
        let root = backend.into_drawing_area();
        root.fill(&WHITE)?;
        let bottom = (0.8 * least(low)).max(1e-6);
        let y = (bottom..(1.25 * most(high)).max(10.0 * bottom)).log_scale();
        let mut chart = ChartBuilder::on(&root)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(least(bits) - 0.35..most(bits) + 0.35, y)?;
        chart
            .configure_mesh()
            .x_desc("bits per weight, whole file")
            .y_desc("mean KL divergence, nats")
            .y_label_formatter(&|divergence: &f64| format!("{}", (divergence * 1e6).round() / 1e6))
            .label_style(("sans-serif", 14))
            .light_line_style(WHITE)
            .draw()?;
        let line = self.ours.iter().map(|p| (p.bits(), p.divergence));
        chart
            .draw_series(LineSeries::new(line, OURS.stroke_width(2)))?
            .label(&self.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], OURS.stroke_width(2)));
        let middle = (least(bits) + most(bits)) / 2.0;
        let named = self.ours.iter().filter(|_| self.named).map(|point| (point, OURS));
        for (point, color) in named.chain(self.others.iter().map(|point| (point, OTHERS))) {
            let at = (point.bits(), point.divergence);
            // Names stay within the picture.
            let (side, away) = if at.0 > middle { (HPos::Right, -8) } else { (HPos::Left, 8) };
            let style = TextStyle::from(("sans-serif", 13)).pos(Pos::new(side, VPos::Bottom));
            let mark = EmptyElement::at(at)
                + Circle::new((0, 0), 4, color.filled())
                + Text::new(point.name.clone(), (away, -4), style);
            chart.draw_series(std::iter::once(mark))?;
            if point.error.is_some() {
                let bar = PathElement::new([(at.0, low(point)), (at.0, high(point))], color.stroke_width(2));
                chart.draw_series(std::iter::once(bar))?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .border_style(BLACK.mix(0.3))
            .background_style(WHITE.mix(0.8))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Curve {
        let point = |name: &str, bytes, divergence, error| Point {
            name: name.into(),
            bytes,
            weights: 800,
            divergence,
            error,
        };
        let ours = vec![point("2.50 bpw", 250, 0.5, None), point("3.00 bpw", 300, 0.25, None)];
        let others = vec![point("a, \"b\" <c>", 310, 0.75, Some(0.0125))];
        Curve { name: "best mix".into(), named: false, ours, others }
    }

    #[test]
    fn tables_have_a_line_for_each_file() {
        let expected = "file,bytes,bpw,times_smaller_than_fp32,kld,kld_error\n\
            2.50 bpw,250,2.5000,12.8000,0.500000,\n\
            3.00 bpw,300,3.0000,10.6667,0.250000,\n\
            a   b  <c>,310,3.1000,10.3226,0.750000,0.012500\n";
        assert_eq!(curve().csv(), expected);
    }

    #[test]
    fn pictures_name_all_files() {
        let svg = curve().svg();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("best mix") && svg.contains("&lt;c&gt;") && svg.contains("<polyline"), "{svg}");
        // A bar for the one error.
        let bars =
            |svg: &str| svg.split("</style>").nth(1).map(|svg| svg.matches("stroke=\"#C85000\"").count());
        let mut without = curve();
        without.others[0].error = None;
        assert_eq!((bars(&svg), bars(&without.svg())), (Some(1), Some(0)));
    }

    /// Every colour of the picture has one for dark pages.
    #[test]
    fn pictures_are_for_dark_pages_too() {
        let named = Curve { named: true, ..curve() };
        let svg = named.svg();
        let (_, rest) = svg.split_once(DARK).expect("the style sheet");
        for color in rest.split(['\"']).filter(|word| word.starts_with('#')) {
            assert!(DARK.contains(color), "{color}");
        }
        assert!(rest.contains("\n2.50 bpw\n") && !curve().svg().contains("\n2.50 bpw\n"), "{svg}");
        // One point alone is a picture too.
        let alone = Curve { others: Vec::new(), ours: named.ours[..1].to_vec(), ..named };
        assert!(alone.svg().contains("<circle"));
    }
}
