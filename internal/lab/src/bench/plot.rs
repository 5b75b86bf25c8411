use anyhow::anyhow;
use plotters::prelude::*;

const SIZE: (u32, u32) = (820, 380);
/// Colours that are told apart without seeing red and green.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Lines over one axis.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The end of its file's name.
    pub name: &'static str,
    /// Above it.
    pub title: String,
    /// What runs to the right, with its unit.
    pub x: &'static str,
    /// What runs upwards, with its unit.
    pub y: &'static str,
    /// Names and points.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// The picture.
    ///
    /// # Errors
    /// There is nothing to be drawn.
    pub fn svg(&self) -> anyhow::Result<String> {
        let points = || self.lines.iter().flat_map(|(_, points)| points.iter());
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
        let least_x = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
        anyhow::ensure!(least_x.is_finite(), "it has no points");
        let (most_x, most_y) = (most(|(x, _)| *x), most(|(_, y)| *y));
        // the names stand above the lines, not on them
        let names = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let top = most_y * 0.07f64.mul_add(f64::from(names), 1.05);
        let mut svg = String::new();
        self.draw(&mut svg, least_x..most_x, 0.0..top.max(1e-9))
            .map_err(|error| anyhow!("{error}"))?;
        Ok(svg)
    }

    fn draw(
        &self,
        svg: &mut String,
        x: std::ops::Range<f64>,
        y: std::ops::Range<f64>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .light_line_style(WHITE)
            .draw()?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(
                    points.iter().copied(),
                    colour.stroke_width(2),
                ))?
                .label(name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_an_svg_and_nothing_cannot_be_drawn() {
        let mut plot = Plot {
            name: "pace",
            title: "sagas that ended".to_owned(),
            x: "seconds",
            y: "sagas a second",
            lines: vec![("forward".to_owned(), vec![(0.0, 1.0), (1.0, 3.0)])],
        };
        let svg = plot.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("forward"), "{svg}");
        plot.lines.clear();
        assert!(plot.svg().is_err());
    }
}
